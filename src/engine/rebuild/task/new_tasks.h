#pragma once
// The processes of a tree as they are being made: stopped, and traced by this thread.

#include <sys/types.h>

#include <cstddef>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/rebuild/sockets/tcp.h"
#include "engine/tree/answers.h"
#include "os/ptrace.h"

namespace upkeep::engine {

struct NewProcess {
  pid_t pid = 0;
  std::vector<os::Tracee> threads;  // the leader is the first one; none: a zombie
};

// Ends all tasks when it is let go, unless they were taken out of it; also when this process dies.
class NewTasks {
 public:
  NewTasks() = default;
  NewTasks(NewTasks&&) noexcept = default;
  NewTasks& operator=(NewTasks&&) = delete;
  ~NewTasks();
  std::vector<NewProcess>& processes() { return processes_; }  // parents before children
  void add(NewProcess process) {
    positions_[process.pid] = processes_.size();
    processes_.push_back(std::move(process));
  }
  NewProcess* find(pid_t pid);
  // TCP connections of theirs, which go live when nothing can fail any more.
  HeldConnections& connections() { return connections_; }
  // What they have said of themselves when everything was set (roll_call.h).
  KnownAnswers& answers() { return answers_; }

 private:
  KnownAnswers answers_;
  HeldConnections connections_;
  std::vector<NewProcess> processes_;
  std::unordered_map<pid_t, std::size_t> positions_;
};

}  // namespace upkeep::engine
