#pragma once
// Processes and their threads.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"
#include "engine/model/files/descriptors.h"
#include "engine/model/files/file_locks.h"
#include "engine/model/memory/address_space.h"
#include "engine/model/namespaces/pid_namespaces.h"
#include "engine/model/task/identity.h"
#include "engine/model/task/keyrings.h"
#include "engine/model/task/registers.h"
#include "engine/model/task/scheduling.h"
#include "engine/model/task/seccomp.h"
#include "engine/model/task/signals.h"
#include "engine/model/task/timers.h"

namespace upkeep::engine {

// Read while the thread stands still.
struct StoppedThread {
  Registers registers;
  std::uint64_t signal_mask = 0;  // what is blocked once the system call that it is in has returned
  AlternateStack alternate_stack;
  std::vector<Bytes> pending;  // siginfo_t each, in their order
  std::uint64_t clear_child_tid = 0;
  std::uint64_t robust_list = 0;
  RestartableSequence rseq;
  std::int32_t parent_death_signal = 0;
  ThreadSettings settings;
  // Nanoseconds until the timeout of the system call that it is in, where the call has one whose end only the
  // kernel knows (restart_syscall(2)); 0: none, or nobody tells.
  std::uint64_t time_left = 0;
  bool operator==(const StoppedThread&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("registers", self.registers);
    visit("signal_mask", self.signal_mask);
    visit("alternate_stack", self.alternate_stack);
    visit("pending", self.pending);
    visit("clear_child_tid", self.clear_child_tid);
    visit("robust_list", self.robust_list);
    visit("rseq", self.rseq);
    visit("parent_death_signal", self.parent_death_signal);
    visit("settings", self.settings);
    visit("time_left", self.time_left);
  }
};

struct Thread {
  std::int32_t tid = 0;
  std::vector<std::int32_t> inner_tids;  // in PID namespaces inside of ours, the outermost first
  std::string comm;
  Credentials credentials;
  Scheduling scheduling;
  Seccomp seccomp;  // its filters are told only while it stands still
  std::optional<StoppedThread> stopped;
  bool operator==(const Thread&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("tid", self.tid);
    visit("inner_tids", self.inner_tids);
    visit("comm", self.comm);
    visit("credentials", self.credentials);
    visit("scheduling", self.scheduling);
    visit("seccomp", self.seccomp);
    visit("stopped", self.stopped);
  }
};

// getrlimit(2)
struct Limit {
  std::uint64_t soft = 0, hard = 0;
  bool operator==(const Limit&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("soft", self.soft);
    visit("hard", self.hard);
  }
};

// Read while all threads of the process stand still.
struct StoppedProcess {
  std::array<SignalAction, 64> actions = {};  // [0] is signal 1
  std::vector<Bytes> pending;                 // siginfo_t each, of the process as a whole
  std::array<IntervalTimer, 3> interval_timers = {};
  std::vector<PosixTimer> posix_timers;
  bool child_subreaper = false;
  std::int32_t dumpable = 0;
  bool thp_disable = false;
  std::uint32_t memory_deny_write_execute = 0;  // PR_GET_MDWE
  bool memory_merge = false;                    // PR_GET_MEMORY_MERGE
  std::optional<std::uint32_t> keyring;         // index into Snapshot::keyrings; none: the user's
  std::uint32_t locks_future = 0;               // MCL_FUTURE and MCL_ONFAULT of mlockall(2)
  std::int32_t stop_signal = 0;                 // that it was job_stopped by
  bool stop_untold = false;                     // its parent would still be told by waitid(2)
  bool operator==(const StoppedProcess&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("actions", self.actions);
    visit("pending", self.pending);
    visit("interval_timers", self.interval_timers);
    visit("posix_timers", self.posix_timers);
    visit("child_subreaper", self.child_subreaper);
    visit("dumpable", self.dumpable);
    visit("thp_disable", self.thp_disable);
    visit("memory_deny_write_execute", self.memory_deny_write_execute);
    visit("memory_merge", self.memory_merge);
    visit("keyring", self.keyring);
    visit("locks_future", self.locks_future);
    visit("stop_signal", self.stop_signal);
    visit("stop_untold", self.stop_untold);
  }
};

// Where names are looked up: path_resolution(7).
struct Folders {
  std::string working_directory, root;
  std::uint32_t umask = 0;
  bool operator==(const Folders&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("working_directory", self.working_directory);
    visit("root", self.root);
    visit("umask", self.umask);
  }
};

struct Process {
  std::int32_t pid = 0, ppid = 0, pgrp = 0, session = 0;
  // The same IDs in the PID namespaces that it is in inside of ours, the outermost first; 0: what has that ID
  // is not in there. pid_namespaces(7).
  std::vector<std::int32_t> inner_pids, inner_pgrps, inner_sessions;
  // The innermost one, by its number in the kernel that it was read from; 0: ours. The other one: what its
  // children are born into, where that is another one.
  std::uint64_t pid_namespace = 0, pid_namespace_for_children = 0;
  std::int32_t exit_signal = 0;
  std::uint64_t terminal = 0;               // Terminal::device of the controlling one; 0: none
  bool job_stopped = false;                 // by SIGSTOP and its like
  std::optional<std::int32_t> exit_status;  // of a zombie, wait(2)'s; a zombie has nothing of what follows
  std::string comm, command;
  std::string cgroup;
  std::uint32_t personality = 0;
  std::int32_t oom_score_adj = 0;
  std::uint32_t coredump_filter = 0;
  std::uint32_t login_uid = ~0U;            // of audit; all ones: nobody has logged in
  std::optional<std::uint32_t> namespaces;  // index into Snapshot::namespaces; none: the host's
  std::vector<Thread> threads;              // the leader is the first one
  std::array<Limit, 16> limits = {};
  Folders folders;
  AddressSpace memory;
  std::vector<Descriptor> descriptors;  // ascending
  std::vector<RecordLock> locks;
  std::optional<StoppedProcess> stopped;
  bool operator==(const Process&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pid", self.pid);
    visit("ppid", self.ppid);
    visit("pgrp", self.pgrp);
    visit("session", self.session);
    visit("inner_pids", self.inner_pids);
    visit("inner_pgrps", self.inner_pgrps);
    visit("inner_sessions", self.inner_sessions);
    visit("pid_namespace", self.pid_namespace);
    visit("pid_namespace_for_children", self.pid_namespace_for_children);
    visit("exit_signal", self.exit_signal);
    visit("terminal", self.terminal);
    visit("job_stopped", self.job_stopped);
    visit("exit_status", self.exit_status);
    visit("comm", self.comm);
    visit("command", self.command);
    visit("cgroup", self.cgroup);
    visit("personality", self.personality);
    visit("oom_score_adj", self.oom_score_adj);
    visit("coredump_filter", self.coredump_filter);
    visit("login_uid", self.login_uid);
    visit("namespaces", self.namespaces);
    visit("threads", self.threads);
    visit("limits", self.limits);
    visit("folders", self.folders);
    visit("memory", self.memory);
    visit("descriptors", self.descriptors);
    visit("locks", self.locks);
    visit("stopped", self.stopped);
  }
};

inline std::string title_of(const Thread& thread, std::size_t) {
  return fmt::format("thread {}", thread.tid);
}
inline std::string title_of(const Process& process, std::size_t) {
  return fmt::format("process {}", process.pid);
}
Result<void> validate(const Thread& thread, const KnownObjects& known);
Result<void> validate(const Process& process, const KnownObjects& known);
// IDs are unique, and parents come before their children.
Result<void> validate(const std::vector<Process>& processes, const KnownObjects& known);
void make_comparable(StoppedThread& value, const StoppedThread* other, Comparison& comparison);
void make_comparable(StoppedProcess& value, const StoppedProcess* other, Comparison& comparison);
void make_comparable(Process& value, const Process* other, Comparison& comparison);

}  // namespace upkeep::engine
