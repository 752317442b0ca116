#include <unistd.h>

#include "jump/old/run.h"
#include "jump/old/stages.h"
#include "net/hold.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::jump {
namespace {

// Stops the carry set, then closes the network: nothing has been read of it.
class ParkStage final : public OldKernelStage {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "park"; }

  Result<void> apply_with(Run& run, operation::Context& context) override {
    context.fact({{"pids", run.set.pids()}});
    run.open_window(context);
    const auto begin = os::monotonic_ns();
    TRY_ASSIGN(auto stopped, engine::StoppedSet::stop(run.set.roots()));
    run.stopped.emplace(std::move(stopped));
    context.fact({{"engine.parked_ms", os::milliseconds_since(begin)}});
    return net::hold_network();
  }

  // Whatever ends the process that stopped them lets the tasks go; that may take the kernel a moment. The network
  // opens first: what arrives now is queued by sockets that are all there.
  Result<void> undo(const operation::UndoContext& context) override {
    TRY(net::release_network());
    for (pid_t pid : context.facts.value("pids", std::vector<pid_t>())) {
      for (int tries = 0; is_held(pid); ++tries) {
        if (tries == 600) return Err("task {} is still held by process {} after 30 s", pid, tracer(pid));
        ::usleep(50'000);
      }
    }
    return {};
  }

 private:
  static std::string tracer(pid_t pid) {
    auto status = os::read_file(fmt::format("/proc/{}/status", pid));
    if (!status) return "0";  // ended by itself meanwhile
    return os::parse_key_values(*status)["TracerPid"];
  }
  static bool is_held(pid_t pid) { return tracer(pid) != "0"; }
};

}  // namespace

std::unique_ptr<operation::Stage> make_park_stage(Run* run) { return std::make_unique<ParkStage>(run); }

}  // namespace upkeep::jump
