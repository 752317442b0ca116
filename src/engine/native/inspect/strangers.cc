#include "engine/native/inspect/strangers.h"

#include <unistd.h>

#include "os/procfs.h"

namespace upkeep::native {
namespace {

bool comes_from_the_tree(const Snapshot& snapshot, pid_t pid) {
  constexpr int kMostGenerations = 64;
  for (int generation = 0; generation < kMostGenerations && pid > 1; ++generation) {
    if (snapshot.find(pid) != nullptr) return true;
    const auto stat = os::read_stat(pid);
    if (!stat) return generation == 0;  // it has ended
    pid = stat->ppid;
  }
  return false;
}

}  // namespace

std::vector<pid_t> strangers_to(const Snapshot& snapshot) {
  auto pids = os::list_processes().value_or(std::vector<pid_t>());
  std::erase_if(pids, [&](pid_t pid) { return pid == ::getpid() || comes_from_the_tree(snapshot, pid); });
  return pids;
}

}  // namespace upkeep::native
