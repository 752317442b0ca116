#pragma once
// criu's probing of the kernel, made short. Most of it is waiting for modules that no restore of ours needs
// (tun, veth, nf_tables, the sock_diag family): 3.8 s of a window in emulation. Each probe copes with the
// module not being there.

#include <future>
#include <string>
#include <utility>

#include "common/event.h"

namespace upkeep::engine::criu {

constexpr const char* kKernelCache = "/run/criu.kdat";

// While this lives the kernel starts no modprobe: /proc/sys/kernel/modprobe is empty (proc_sys_kernel(5)).
class NoModuleLoading {
 public:
  // Does something only before systemd (or whatever else would load modules) runs.
  static NoModuleLoading where_nothing_else_runs();
  NoModuleLoading(NoModuleLoading&& other) noexcept : before_(std::move(other.before_)) {
    other.before_.clear();
  }
  NoModuleLoading& operator=(NoModuleLoading&&) = delete;
  ~NoModuleLoading();

 private:
  explicit NoModuleLoading(std::string before) : before_(std::move(before)) {}
  std::string before_;
};

// Removes the cache at the end if there was none: what was found out without modules is not for others.
class ForgottenCache {
 public:
  ForgottenCache();
  ForgottenCache(const ForgottenCache&) = delete;
  ForgottenCache& operator=(const ForgottenCache&) = delete;
  ~ForgottenCache();

 private:
  bool was_there_;
};

struct EngineOptions;

// criu keeps what it found out about the kernel in /run/criu.kdat, if /run is a tmpfs; without that it probes
// the kernel first, over a loopback that is closed by then: so it is made to do that beforehand, in a network
// namespace of its own and in a thread of ours. What was found out is forgotten when this goes.
class KernelProbe {
 public:
  explicit KernelProbe(EngineOptions options);
  Result<void> wait(const EventSink& facts);

 private:
  ForgottenCache cache_;
  std::future<Result<double>> milliseconds_;  // ends before the cache is forgotten
};

}  // namespace upkeep::engine::criu
