#pragma once
// Programs started by upkeep: found by PID and pidfd, never by name; bounded in time; output kept for the
// error message. Every main() ignores SIGPIPE first thing: a program that does not read its input is no
// reason to die.

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// How a process ended: wait(2)'s status, decoded.
class ExitStatus {
 public:
  explicit ExitStatus(int wait_status) : status_(wait_status) {}
  bool success() const { return status_ == 0; }
  std::optional<int> code() const;    // set where it exited
  std::optional<int> signal() const;  // set where a signal killed it
  std::string text() const;           // "exit status 2", "killed by signal 9 (Killed)"

 private:
  int status_;
};

struct Finished {
  ExitStatus status;
  std::string out;
  std::string err;
};

struct SpawnOptions {
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
  std::string input;               // given on standard input
  std::function<void()> in_child;  // runs between fork and exec, in the child: async-signal-safe calls only
};

// Runs a program to its end and collects its output. Not finished in time: it is killed, and that is the
// error. A program that ran and failed is not an error here; see run_checked.
Result<Finished> run(const std::vector<std::string>& argv, const SpawnOptions& options = {});
// The same, where anything but exit status 0 is an error that shows the last line of what the program said.
Result<std::string> run_checked(const std::vector<std::string>& argv, const SpawnOptions& options = {});

// Forks a child that runs BODY and exits with what it returns. The descriptor is a pidfd.
struct Child {
  pid_t pid = -1;
  UniqueFd pidfd;
};
Result<Child> fork_child(const std::function<int()>& body);
Result<UniqueFd> open_pidfd(pid_t pid);
// Waits for a child; the error after TIMEOUT has code ETIMEDOUT and the child is left alone.
Result<ExitStatus> wait_child(const Child& child, std::chrono::milliseconds timeout);

// Where a program is, searched as the shell would; empty where it is not.
std::string find_program(const std::string& name);

}  // namespace upkeep::os
