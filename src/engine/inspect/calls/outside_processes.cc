#include "engine/inspect/calls/outside_processes.h"

#include <unistd.h>

#include <unordered_map>

#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using Parents = std::unordered_map<pid_t, pid_t>;

bool comes_from_the_tree(const Snapshot& snapshot, const Parents& parents, pid_t pid) {
  constexpr int kMostGenerations = 64;
  for (int generation = 0; generation < kMostGenerations && pid > 1; ++generation) {
    if (snapshot.find(pid) != nullptr) return true;
    const auto parent = parents.find(pid);
    if (parent == parents.end()) return false;
    pid = parent->second;
  }
  return false;
}

}  // namespace

OutsideProcesses outside_processes(const Snapshot& snapshot) {
  OutsideProcesses outside;
  Parents parents;
  for (const pid_t pid : os::list_processes().value_or(std::vector<pid_t>())) {
    const auto stat = os::read_stat(pid);
    if (!stat || stat->kernel_thread()) continue;  // or it has ended
    parents.emplace(pid, stat->ppid);
    if (pid != ::getpid()) outside.push_back(pid);
  }
  std::erase_if(outside, [&](pid_t pid) { return comes_from_the_tree(snapshot, parents, pid); });
  return outside;
}

}  // namespace upkeep::engine
