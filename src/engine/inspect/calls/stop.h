#pragma once
// A tree of tasks brought to a stop, whole: threads and children that come up meanwhile are stopped too, and
// the stop is complete only when a look at the whole tree finds nothing new. Everything goes on when this is
// let go, and also when this process dies, of whatever cause.

#include <sys/types.h>

#include <chrono>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/result.h"
#include "os/ptrace.h"

namespace upkeep::engine {

struct HeldThread {
  os::Tracee tracee;
  int stop_signal = 0;          // of job control; 0: it has not stopped it
  std::uint64_t time_left = 0;  // StoppedThread::time_left
};

struct HeldProcess {
  pid_t pid = 0;
  bool zombie = false;
  std::vector<HeldThread> threads;  // none for a zombie; else the leader is the first one
};

class StoppedTree {
 public:
  // LIMIT: for one thread. One that waits uninterruptibly for longer is an error that names it. What was
  // stopped until then goes on.
  static Result<StoppedTree> stop(const std::vector<pid_t>& roots,
                                  std::chrono::milliseconds limit = std::chrono::seconds(5));
  // Tasks that stand still already, parents before children.
  static StoppedTree adopt(std::vector<HeldProcess> processes);
  StoppedTree(StoppedTree&&) noexcept = default;
  StoppedTree& operator=(StoppedTree&&) noexcept = default;

  const std::vector<HeldProcess>& processes() const { return processes_; }  // parents before children
  // SIGKILL to every process; returns when all are gone or zombies of parents that are not ours.
  Result<void> kill();

 private:
  StoppedTree() = default;
  Result<void> arrange(const std::unordered_map<pid_t, std::size_t>& places);
  Result<bool> take_new(const std::vector<pid_t>& pids, std::chrono::milliseconds limit);
  Result<bool> take_threads(HeldProcess& process, std::chrono::milliseconds limit);
  std::vector<HeldProcess> processes_;
  std::unordered_map<pid_t, std::size_t> positions_;  // in processes_, while they are being stopped
  std::unordered_set<pid_t> held_;                    // threads of all of them
};

}  // namespace upkeep::engine
