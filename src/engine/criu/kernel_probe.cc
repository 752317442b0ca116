#include "engine/criu/kernel_probe.h"

#include <unistd.h>

#include "engine/criu/operations.h"
#include "os/file.h"

namespace upkeep::engine::criu {
namespace {

constexpr const char* kModprobe = "/proc/sys/kernel/modprobe";
constexpr const char* kSystemdRuns = "/run/systemd/system";  // sd_booted(3)

}  // namespace

NoModuleLoading NoModuleLoading::where_nothing_else_runs() {
  if (os::exists(kSystemdRuns)) return NoModuleLoading("");
  auto before = os::read_file(kModprobe);
  if (!before || before->size() < 2) return NoModuleLoading("");  // no modules, or switched off already
  if (!os::write_value(kModprobe, "\n")) return NoModuleLoading("");
  return NoModuleLoading(std::move(*before));
}

NoModuleLoading::~NoModuleLoading() {
  if (!before_.empty()) (void)os::write_value(kModprobe, before_);
}

ForgottenCache::ForgottenCache() : was_there_(os::exists(kKernelCache)) {}

ForgottenCache::~ForgottenCache() {
  if (!was_there_) ::unlink(kKernelCache);
}

KernelProbe::KernelProbe(EngineOptions options)
    : milliseconds_(std::async(std::launch::async, [options = std::move(options)]() -> Result<double> {
        const auto begin = std::chrono::steady_clock::now();
        if (!os::exists(kKernelCache)) {
          const auto quiet = NoModuleLoading::where_nothing_else_runs();
          TRY(ask(options, encode_feature_request()));
        }
        return milliseconds_since(begin);
      })) {}

Result<void> KernelProbe::wait(const EventSink& facts) {
  TRY_ASSIGN(const auto milliseconds, milliseconds_.get());
  emit_fact(facts, "kernel probed", {{"engine.probe_ms", milliseconds}});
  return {};
}

}  // namespace upkeep::engine::criu
