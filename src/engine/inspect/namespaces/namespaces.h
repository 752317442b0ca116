#pragma once
// Namespaces of a process or a thread that are other ones than our own (namespaces(7)): what a task sees
// differently from us.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"
#include "os/time_namespace.h"

namespace upkeep::engine {

class NamespaceReader {
 public:
  explicit NamespaceReader(Snapshot& snapshot) : snapshot_(snapshot) {}
  // Before the first one is read: in whose time namespace Snapshot::clocks are read.
  Result<void> choose_clocks(const std::vector<pid_t>& pids);
  const os::ClockOffsets& clocks() const { return clocks_; }
  // Also of one that has ended.
  void read_pid_namespaces(Process& process);
  Result<void> read(Process& process);

 private:
  void read_pid_namespaces(Process& process, os::Fd links);
  NamespaceNumbers numbers_of(os::Fd links);
  std::uint64_t own(const char* kind);
  Snapshot& snapshot_;
  os::ClockOffsets clocks_;
  std::uint64_t clocks_in_ = 0;
  std::map<std::string, std::uint64_t, std::less<>> own_;
  std::map<NamespaceNumbers, std::uint32_t> known_;
  std::set<std::uint64_t> reported_, waited_for_;
};

// What one thread has by itself (setns(2), unshare(2)), beside those of its process.
class ThreadNamespaces {
 public:
  explicit ThreadNamespaces(pid_t pid);
  // DIRECTORY: /proc/PID/task/TID.
  void look_at(pid_t tid, os::Fd directory, std::vector<Obstacle>& obstacles) const;

 private:
  pid_t pid_;
  std::vector<std::string> links_;
};

// Whether its /proc is not ours: in another PID namespace, or beside one that is.
bool shows_other_processes(const Process& process, const Snapshot& snapshot);

}  // namespace upkeep::engine
