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

#include "engine/native/rebuild/compile.h"

namespace upkeep::native {
namespace {

constexpr std::uint64_t kRseqUnregister = 1;  // RSEQ_FLAG_UNREGISTER

// clone3(2) with a wanted ID.
void make_task(Program& program, std::uint64_t flags, std::int32_t exit_signal, std::int32_t id,
               bool may_fail = false) {
  const auto wanted = program.value(id);
  clone_args arguments = {};
  arguments.flags = static_cast<__u64>(flags);
  arguments.exit_signal = static_cast<__u64>(exit_signal);
  arguments.set_tid_size = 1;
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
  program.call(SYS_pidfd_open, {terminals.restorer, 0});
  program.call(SYS_pidfd_getfd, {0, source->second, 0});
  program.call(SYS_ioctl, {1, request, argument});
  program.call(SYS_close, {1});
  program.call(SYS_close, {0});
}

// What the helper makes. Those that have none of the keyrings in COMMON come first.
std::map<std::optional<std::uint32_t>, std::vector<std::int32_t>> ids_by_keyring(
    const Births& births, const std::set<std::uint32_t>& common) {
  std::map<std::optional<std::uint32_t>, std::vector<std::int32_t>> ids;
  for (const auto* root : births.roots) ids[keyring_for({.children = {root}}, common)].push_back(root->pid);
  for (const auto& step : births.steps) {
    const auto* stand_in = std::get_if<StandIn>(&step);
    if (stand_in != nullptr && stand_in->maker == nullptr)
      ids[keyring_for(*stand_in, common)].push_back(stand_in->session);
  }
  return ids;
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

Program compile_roots(const Births& births, const std::string& offsets, const Snapshot& snapshot) {
  Program program;
  program.call(SYS_close_range, {0, ~0U, 0});
  if (!offsets.empty()) {
    program.call(SYS_unshare, {0x80 /* CLONE_NEWTIME */});
    program.call(SYS_open, {program.text("/proc/self/timens_offsets"), O_WRONLY});  // descriptor 0
    program.call(SYS_write, {0, program.text(offsets), offsets.size()});
    program.call(SYS_close, {0});
  }
  for (const auto& [keyring, ids] : ids_by_keyring(births, keyrings_of_many_roots(snapshot, births))) {
    if (keyring) program.append(compile_join(snapshot.keyrings[*keyring]));
    for (const auto id : ids) make_task(program, CLONE_PARENT, 0, id);
  }
  program.call(SYS_exit_group, {0});
  return program;
}

Program compile_birth(const Birth& birth, const TerminalSources& terminals) {
  Program program;
  for (const auto* child : birth.before_setsid) make_task(program, 0, child->exit_signal, child->pid);
  if (birth.process->session == birth.process->pid) program.call(SYS_setsid, {});
  // Children inherit it; only who leads a session can take one.
  if (birth.process->session == birth.process->pid)
    call_terminal(program, *birth.process, terminals, TIOCSCTTY, 0);
  for (const auto* child : birth.after_setsid) make_task(program, 0, child->exit_signal, child->pid);
  return program;
}

Program compile_stand_in_birth(std::int32_t id, bool leads) {
  Program program;
  make_task(program, 0, SIGCHLD, id, !leads);
  return program;
}

// Those that are adopted have SIGCHLD as their exit signal: reparent_leader() of kernel/exit.c.
Program compile_stand_in(const StandIn& stand_in) {
  Program program;
  if (stand_in.leads) program.call(SYS_setsid, {});
  for (const auto* child : stand_in.children) make_task(program, 0, SIGCHLD, child->pid);
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
  if (process.pid != process.session) program.call(SYS_setpgid, {0, process.pgrp});
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
    call_terminal(program, process, terminals, TIOCSPGRP, program.value(terminal->foreground));
  }
  return program;
}

Program compile_threads(const Process& process) {
  Program program;
  constexpr std::uint64_t kFlags =
      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PTRACE;
  for (const auto& thread : process.threads) {
    if (thread.tid != process.pid) make_task(program, kFlags, 0, thread.tid);
  }
  return program;
}

Program compile_told_of_stop(const Process& stopped) {
  Program program;
  program.call(SYS_waitid, {P_PID, stopped.pid, 0, WSTOPPED | WNOHANG | __WALL, 0});
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
    program.call(SYS_kill, {zombie.pid, WTERMSIG(status)});
    program.call(SYS_rt_sigprocmask, {SIG_SETMASK, program.value(mask), 0, sizeof mask});
  }
  program.call(SYS_exit_group, {WEXITSTATUS(status)});
  return program;
}

}  // namespace upkeep::native
