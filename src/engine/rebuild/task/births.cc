// Processes, sessions, groups, threads.

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <set>
#include <span>

#include "engine/rebuild/compile.h"
#include "engine/tree/inner_ids.h"

namespace upkeep::engine {
namespace {

constexpr std::uint64_t kRseqUnregister = 1;  // RSEQ_FLAG_UNREGISTER

using Ids = std::vector<std::int32_t>;

// clone3(2) with wanted IDs, the innermost PID namespace's first.
void make_task(Program& program, std::uint64_t flags, std::int32_t exit_signal, const Ids& ids,
               bool may_fail = false) {
  const auto wanted = program.bytes(std::as_bytes(std::span(ids)));
  clone_args arguments = {};
  arguments.flags = static_cast<__u64>(flags);
  arguments.exit_signal = static_cast<__u64>(exit_signal);
  arguments.set_tid_size = ids.size();
  const auto place = program.value(arguments);
  program.pointer(place, offsetof(clone_args, set_tid), wanted);
  if (may_fail)
    program.try_call(SYS_clone3, {place, sizeof arguments});
  else
    program.call(SYS_clone3, {place, sizeof arguments});
}

// While nothing else is open: the terminal is descriptor 1 for one call.
void call_terminal(Program& program, const Process& process, const TerminalSources& terminals,
                   unsigned long request, const Argument& argument) {
  const auto source = terminals.slaves.find(process.terminal);
  if (source == terminals.slaves.end()) return;
  open_restorer(program, process, terminals.restorer);
  program.call(SYS_pidfd_getfd, {0, source->second, 0});
  program.call(SYS_ioctl, {1, request, argument});
  program.call(SYS_close, {1});
  close_restorer(program, process);
}

// Descriptor 0 leads to the restorer, and 1 is free.
void enter_pid_namespace_of(Program& program, std::int32_t id) {
  program.call(SYS_pidfd_open, {id, 0});
  program.call(SYS_setns, {1, CLONE_NEWPID});
  program.call(SYS_close, {1});
}

// In a process that lives where PARENT does. The first process of a PID namespace makes that; others that
// their parent makes in there have it as a brother.
void make_child(Program& program, const Birth& birth, const Process& child, std::int32_t restorer,
                std::uint64_t flags) {
  const auto& parent = *birth.process;
  const auto ids = wanted_ids(child.pid, child.inner_pids);
  if (!enters_namespace(parent, child)) return make_task(program, flags, child.exit_signal, ids);
  open_restorer(program, parent, restorer);
  std::int32_t init = 0;
  for (const auto* other : birth.children()) {
    if (other->pid_namespace == child.pid_namespace && is_init(*other)) init = seen_by(parent, *other);
  }
  if (!is_init(child)) enter_pid_namespace_of(program, init);
  make_task(program, is_init(child) ? CLONE_NEWPID : 0, child.exit_signal, ids);
  if (!is_init(child)) enter_pid_namespace_of(program, own_id(parent));
  close_restorer(program, parent);
}

struct RootTask {
  Ids ids;
  bool first_of_namespace = false;
};

// What the helper makes. Those that have none of the keyrings in COMMON come first.
std::map<std::optional<std::uint32_t>, std::vector<RootTask>> roots_by_keyring(
    const Births& births, const std::set<std::uint32_t>& common) {
  std::map<std::optional<std::uint32_t>, std::vector<RootTask>> roots;
  for (const auto* root : births.roots)
    roots[keyring_for({.children = {root}}, common)].push_back(
        {wanted_ids(root->pid, root->inner_pids), is_init(*root)});
  for (const auto& step : births.steps) {
    const auto* stand_in = std::get_if<StandIn>(&step);
    if (stand_in != nullptr && stand_in->maker == nullptr)
      roots[keyring_for(*stand_in, common)].push_back({{stand_in->session}, false});
  }
  return roots;
}

// Who lives in another PID namespace than the restorer inherits descriptor 0, which leads there: it cannot
// name it.
void make_root(Program& program, const RootTask& root, std::int32_t restorer) {
  if (!root.first_of_namespace) return make_task(program, CLONE_PARENT, 0, root.ids);
  program.call(SYS_pidfd_open, {restorer, 0});
  make_task(program, CLONE_PARENT | CLONE_NEWPID, 0, root.ids);
  program.call(SYS_close, {0});
}

}  // namespace

Program compile_emptying(const RestartableSequence& own_rseq, std::uint64_t keep_start,
                         std::uint64_t keep_end) {
  Program program;
  if (own_rseq.pointer != 0)
    program.call(SYS_rseq, {own_rseq.pointer, own_rseq.size, kRseqUnregister, own_rseq.signature});
  program.call(SYS_munmap, {0, keep_start});
  program.call(SYS_munmap, {keep_end, kHighestAddress - keep_end});
  return program;
}

void open_restorer(Program& program, const Process& process, std::int32_t restorer) {
  if (depth_of(process) == 0) program.call(SYS_pidfd_open, {restorer, 0});
}
void close_restorer(Program& program, const Process& process) {
  if (depth_of(process) == 0) program.call(SYS_close, {0});
}

Program compile_roots(const Births& births, const std::string& offsets, const Snapshot& snapshot,
                      std::int32_t restorer) {
  Program program;
  program.call(SYS_close_range, {0, ~0U, 0});
  if (!offsets.empty()) {
    program.call(SYS_unshare, {0x80 /* CLONE_NEWTIME */});
    program.call(SYS_open, {program.text("/proc/self/timens_offsets"), O_WRONLY});  // descriptor 0
    program.call(SYS_write, {0, program.text(offsets), offsets.size()});
    program.call(SYS_close, {0});
  }
  for (const auto& [keyring, roots] : roots_by_keyring(births, keyrings_of_many_roots(snapshot, births))) {
    if (keyring) program.append(compile_join(snapshot.keyrings[*keyring]));
    for (const auto& root : roots) make_root(program, root, restorer);
  }
  program.call(SYS_exit_group, {0});
  return program;
}

Program compile_birth(const Birth& birth, const TerminalSources& terminals, std::uint64_t flags) {
  Program program;
  const auto& process = *birth.process;
  bool namespaces = false;
  for (const auto* child : birth.children()) namespaces = namespaces || enters_namespace(process, *child);
  for (const auto* child : birth.before_setsid) make_child(program, birth, *child, terminals.restorer, flags);
  if (process.session == process.pid) program.call(SYS_setsid, {});
  if (makes_group_first(process, namespaces)) program.call(SYS_setpgid, {0, 0});
  // Children inherit it; only who leads a session can take one.
  if (process.session == process.pid) call_terminal(program, process, terminals, TIOCSCTTY, 0);
  for (const auto* child : birth.after_setsid) make_child(program, birth, *child, terminals.restorer, flags);
  return program;
}

Program compile_stand_in_birth(const std::vector<std::int32_t>& ids, bool leads) {
  Program program;
  make_task(program, 0, SIGCHLD, ids, !leads);
  return program;
}

// Those that are adopted have SIGCHLD as their exit signal: reparent_leader() of kernel/exit.c.
Program compile_stand_in(const StandIn& stand_in) {
  Program program;
  if (stand_in.leads) program.call(SYS_setsid, {});
  for (const auto* child : stand_in.children)
    make_task(program, 0, SIGCHLD, wanted_ids(child->pid, child->inner_pids));
  return program;
}

Program compile_stand_in_end() {
  Program program;
  program.call(SYS_exit_group, {0});
  return program;
}

Program compile_farewell(std::int32_t stand_in) {
  Program program;
  program.call(SYS_wait4, {stand_in, 0, 0, 0});
  return program;
}

Program compile_adoption(bool adopts) {
  Program program;
  program.call(SYS_prctl, {PR_SET_CHILD_SUBREAPER, adopts ? 1 : 0, 0, 0, 0});
  return program;
}

Program compile_own_group() {
  Program program;
  program.call(SYS_setpgid, {0, 0});
  return program;
}

Program compile_group(const Process& process) {
  Program program;
  const auto group = seen_by(process, process.pgrp, process.inner_pgrps);  // 0: it can only be inherited
  if (process.pid != process.session && group != 0) program.call(SYS_setpgid, {0, group});
  return program;
}

Program compile_terminal(const Process& process, const Snapshot& snapshot, const TerminalSources& terminals) {
  Program program;
  const auto* leader = snapshot.find(process.session);
  if (leader == nullptr || leader->terminal == 0) return program;
  const auto* terminal = snapshot.find_terminal(leader->terminal);
  if (process.terminal == 0) {
    call_terminal(program, *leader, terminals, TIOCNOTTY, 0);
  } else if (&process == leader && terminal != nullptr && terminal->foreground != 0) {
    const auto group = group_seen_by(process, snapshot, terminal->foreground);
    call_terminal(program, process, terminals, TIOCSPGRP, program.value(group));
  }
  return program;
}

Program compile_threads(const Process& process) {
  Program program;
  constexpr std::uint64_t kFlags =
      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PTRACE;
  for (const auto& thread : process.threads) {
    if (thread.tid != process.pid) make_task(program, kFlags, 0, wanted_ids(thread.tid, thread.inner_tids));
  }
  return program;
}

Program compile_told_of_stop(const Process& parent, const Process& stopped) {
  Program program;
  program.call(SYS_waitid, {P_PID, seen_by(parent, stopped), 0, WSTOPPED | WNOHANG | __WALL, 0});
  return program;
}

Program compile_end(const Process& zombie) {
  Program program;
  const int status = zombie.exit_status.value_or(0);
  program.call(SYS_prctl, {PR_SET_NAME, program.text(zombie.comm)});  // which ps(1) shows in brackets
  if (WIFSIGNALED(status)) {
    const rlimit no_core = {0, 0};
    program.call(SYS_prlimit64, {0, RLIMIT_CORE, program.value(no_core), 0});
    // All signals are blocked: this one is not only sent but taken.
    const std::uint64_t mask = ~(1ULL << static_cast<unsigned>(WTERMSIG(status) - 1));
    program.call(SYS_kill, {own_id(zombie), WTERMSIG(status)});
    program.call(SYS_rt_sigprocmask, {SIG_SETMASK, program.value(mask), 0, sizeof mask});
  }
  program.call(SYS_exit_group, {WEXITSTATUS(status)});
  return program;
}

}  // namespace upkeep::engine
