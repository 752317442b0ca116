#pragma once
// One criu process that serves requests of ours over a socket pair (`criu swrk`, https://criu.org/Swrk).
//
// It is never killed while it works on running tasks: a tracer that dies in the middle leaves tasks on
// registers that are not theirs. hang_up() is how it is stopped: criu notices at its next notification (or,
// since all of its further writes fail, earlier), puts everything back and exits. The same happens by itself
// when upkeep dies.

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/criu/rpc.h"
#include "os/child.h"
#include "os/fd.h"

namespace upkeep::engine::criu {

struct Program {
  std::vector<std::string> argv;  // {"/usr/sbin/criu"}; a loader and its options may come before
  std::string path;               // PATH of criu and what it calls; empty: a system's usual one
};

struct WorkerOptions {
  bool own_ipc = false;      // start it in an IPC namespace of its own, see criu_engine.h
  bool own_network = false;  // start it in a network namespace of its own with nothing but loopback
  bool dumps = false;        // it will snapshot: see socket_options.h
  bool no_helpers =
      false;  // it finds no programs to call (iptables and the like): saves starting them for nothing
};

class Worker {
 public:
  static Result<Worker> start(const Program& program, const WorkerOptions& options);
  Worker(Worker&&) noexcept = default;
  Worker& operator=(Worker&&) = delete;
  ~Worker();  // hangs up, and waits for criu to have put things back

  Result<void> send(const std::string& message);
  // The next message. Code ETIMEDOUT: none came; code ECONNRESET: criu is gone.
  Result<Response> receive(std::chrono::milliseconds timeout);
  bool ready() const { return socket_.valid(); }
  int fd() const { return socket_.get(); }
  pid_t pid() const { return child_.pid; }

  void hang_up();
  // Kills it and everything it started. For restores only, where nothing of the tasks has run yet: criu 4.1
  // reads a truncated image for ever, and does not notice anything while it waits for the tasks that do.
  void kill_all();
  // Waits for its end. Code ETIMEDOUT: it still runs.
  Result<os::ExitStatus> wait(std::chrono::milliseconds timeout);
  std::string said() const;  // its standard output and error: what it said before it had a log

 private:
  Worker(os::Child child, os::UniqueFd socket, os::UniqueFd output)
      : child_(std::move(child)), socket_(std::move(socket)), output_(std::move(output)) {}
  os::Child child_;
  os::UniqueFd socket_;
  os::UniqueFd output_;
  std::optional<os::ExitStatus> status_;
};

}  // namespace upkeep::engine::criu
