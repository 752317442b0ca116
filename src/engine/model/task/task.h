#pragma once
// Processes and their threads, but for memory and files.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/model/files/files.h"
#include "engine/model/memory/address_space.h"
#include "engine/model/task/identity.h"
#include "engine/model/text.h"

namespace upkeep::engine {

// user_regs_struct of sys/user.h in its order, raw: where a system call was interrupted rax is -ERESTART...
// and the kernel, not we, works out the restart.
struct Registers {
  std::array<std::uint64_t, 27> general = {};
  Bytes xstate;  // the XSAVE area as PTRACE_GETREGSET gives it
  bool operator==(const Registers&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("general", self.general);
    visit("xstate", self.xstate);
  }
};

// sigaction(2) as the kernel keeps it.
struct SignalAction {
  std::uint64_t handler = 0, flags = 0, restorer = 0, mask = 0;
  bool operator==(const SignalAction&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("handler", self.handler);
    visit("flags", self.flags);
    visit("restorer", self.restorer);
    visit("mask", self.mask);
  }
};

struct AlternateStack {
  std::uint64_t pointer = 0, size = 0;
  std::int32_t flags = 0;
  bool operator==(const AlternateStack&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pointer", self.pointer);
    visit("size", self.size);
    visit("flags", self.flags);
  }
};

// setitimer(2), microseconds.
struct IntervalTimer {
  std::uint64_t value = 0, interval = 0;
  bool operator==(const IntervalTimer&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("value", self.value);
    visit("interval", self.interval);
  }
};

// timer_create(2); times in nanoseconds.
struct PosixTimer {
  std::int32_t id = 0, clock = 0, signal = 0, notify = 0, thread = 0;
  std::uint64_t sigval = 0;
  std::uint64_t value = 0, interval = 0;
  std::int32_t overrun = 0;
  bool operator==(const PosixTimer&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("id", self.id);
    visit("clock", self.clock);
    visit("signal", self.signal);
    visit("notify", self.notify);
    visit("thread", self.thread);
    visit("sigval", self.sigval);
    visit("value", self.value);
    visit("interval", self.interval);
    visit("overrun", self.overrun);
  }
};

// credentials(7), capabilities(7); capability sets are bit masks.
struct Credentials {
  std::uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0, gid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<std::uint32_t> groups;
  std::uint64_t inheritable = 0, permitted = 0, effective = 0, bounding = 0, ambient = 0;
  std::uint32_t securebits = 0;
  bool no_new_privs = false;
  bool operator==(const Credentials&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("uid", self.uid);
    visit("euid", self.euid);
    visit("suid", self.suid);
    visit("fsuid", self.fsuid);
    visit("gid", self.gid);
    visit("egid", self.egid);
    visit("sgid", self.sgid);
    visit("fsgid", self.fsgid);
    visit("groups", self.groups);
    visit("inheritable", self.inheritable);
    visit("permitted", self.permitted);
    visit("effective", self.effective);
    visit("bounding", self.bounding);
    visit("ambient", self.ambient);
    visit("securebits", self.securebits);
    visit("no_new_privs", self.no_new_privs);
  }
};

// sched(7)
struct Scheduling {
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0, deadline = 0, period = 0;
  Bytes affinity;
  std::int32_t io_priority = 0;
  std::uint64_t timer_slack = 0;  // ns
  bool operator==(const Scheduling&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("policy", self.policy);
    visit("flags", self.flags);
    visit("nice", self.nice);
    visit("priority", self.priority);
    visit("runtime", self.runtime);
    visit("deadline", self.deadline);
    visit("period", self.period);
    visit("affinity", self.affinity);
    visit("io_priority", self.io_priority);
    visit("timer_slack", self.timer_slack);
  }
};

// What PTRACE_GET_RSEQ_CONFIGURATION says.
struct RestartableSequence {
  std::uint64_t pointer = 0;
  std::uint32_t size = 0, signature = 0;
  bool operator==(const RestartableSequence&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pointer", self.pointer);
    visit("size", self.size);
    visit("signature", self.signature);
  }
};

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

// The number of a PID namespace for children that nobody has been born into.
inline constexpr std::uint64_t kUnbornPidNamespace = ~0ULL;

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

}  // namespace upkeep::engine
