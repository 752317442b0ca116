#include "engine/inspect/task/landlock_domains.h"

#include "os/landlock.h"

namespace upkeep::engine {

LandlockDomains::LandlockDomains()
    : restricted_(std::async(std::launch::async, os::restricted_by_landlock)) {}

void LandlockDomains::finish(Snapshot& snapshot) {
  const auto restricted = restricted_.get();
  if (!restricted) {
    if (!snapshot.processes.empty())
      snapshot.obstacles.push_back(
          {snapshot.processes.front().pid, "Landlock",
           fmt::format("whether a task is restricted by it cannot be seen: {}", restricted.error().message()),
           "give upkeep CAP_BPF and CAP_PERFMON, a kernel with /sys/kernel/btf/vmlinux, and no "
           "lockdown=confidentiality"});
    return;
  }
  for (const auto& process : snapshot.processes) {
    for (const auto& thread : process.threads) {
      if (restricted->contains(thread.tid))
        snapshot.obstacles.push_back({thread.tid, "a Landlock domain",
                                      "it has restricted itself, and by what rules nobody can read",
                                      "start it without that sandbox, or leave it out"});
    }
  }
}

}  // namespace upkeep::engine
