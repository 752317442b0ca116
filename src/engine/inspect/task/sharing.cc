#include "engine/inspect/task/sharing.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <vector>

#include "engine/inspect/calls/timed_wait.h"
#include "engine/inspect/files/description_order.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

// Tables of signal actions are shared only where the address space is.
struct Shareable {
  int kind;  // of linux/kcmp.h
  const char* name;
};
constexpr Shareable kShareable[] = {
    {1, "address space"}, {2, "table of descriptors"}, {3, "working directory (CLONE_FS)"}};

class Sharers {
 public:
  explicit Sharers(int kind) : kind_(kind) {}
  // Who has the same as PID; 0: nobody yet.
  pid_t find(pid_t pid) const {
    const auto place = place_of(pid);
    return place.same ? pids_[place.at] : 0;
  }
  void add(pid_t pid) { pids_.insert(pids_.begin() + static_cast<std::ptrdiff_t>(place_of(pid).at), pid); }

 private:
  DescriptionPlace place_of(pid_t pid) const {
    return find_in_order(pids_.size(),
                         [&](std::size_t i) { return ::syscall(SYS_kcmp, pid, pids_[i], kind_, 0, 0); });
  }
  int kind_;
  std::vector<pid_t> pids_;
};

// That it does not run until its child has started another program, or ended.
bool waits_in_vfork(pid_t pid) {
  const auto stat = os::read_stat(pid);
  if (!stat || stat->state != 'D') return false;
  const auto call = blocked_call(pid, pid);
  return call && (call->number == SYS_vfork || call->number == SYS_clone || call->number == SYS_clone3);
}

// Whether they still have it in common when whoever only starts a program has had the time for it: shells and
// many others do that all the time. One look is not enough to say that nobody does: the child may have begun
// its program between the comparison and the look at its parent.
bool goes_on_sharing(const Shareable& what, pid_t one, pid_t other) {
  constexpr timespec kPause = {0, 5'000'000};
  constexpr int kMostLooks = 100, kEnough = 3;
  int looks_without = 0;
  for (int look = 0; look < kMostLooks && looks_without < kEnough; ++look) {
    if (look > 0) ::nanosleep(&kPause, nullptr);
    if (::syscall(SYS_kcmp, one, other, what.kind, 0, 0) != 0) return false;
    looks_without = waits_in_vfork(one) || waits_in_vfork(other) ? 0 : looks_without + 1;
  }
  return true;
}

std::string remedy_for(pid_t one, pid_t other) {
  for (const pid_t pid : {one, other}) {
    if (waits_in_vfork(pid))
      return fmt::format("try again: process {} is starting a program (vfork(2)), which takes a moment", pid);
  }
  return "end one of them: only threads of one process can be made with it in common";
}

void look_for(const Shareable& what, const OutsideProcesses& outside, Snapshot& snapshot) {
  Sharers ours(what.kind);
  for (const auto& process : snapshot.processes) {
    if (process.exit_status) continue;
    const pid_t other = ours.find(process.pid);
    if (other == 0) {
      ours.add(process.pid);
      continue;
    }
    if (!goes_on_sharing(what, process.pid, other)) continue;
    snapshot.obstacles.push_back({process.pid, what.name, fmt::format("shared with process {}", other),
                                  remedy_for(process.pid, other)});
  }
  for (const pid_t pid : outside) {
    const pid_t one = ours.find(pid);
    if (one == 0 || !goes_on_sharing(what, one, pid)) continue;
    snapshot.obstacles.push_back({one, what.name,
                                  fmt::format("shared with process {} ({}), which is not part of the tree",
                                              pid, os::command_line(pid)),
                                  remedy_for(one, pid)});
  }
}

}  // namespace

void look_at_sharing(const OutsideProcesses& outside, Snapshot& snapshot) {
  for (const auto& what : kShareable) look_for(what, outside, snapshot);
}

}  // namespace upkeep::engine
