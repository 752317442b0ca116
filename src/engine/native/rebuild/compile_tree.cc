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
#include <unordered_map>

#include "engine/native/rebuild/compile.h"

namespace upkeep::native {
namespace {

constexpr std::uint64_t kRseqUnregister = 1;  // RSEQ_FLAG_UNREGISTER

// clone3(2) with a wanted ID.
void make_task(Program& program, std::uint64_t flags, std::int32_t exit_signal, std::int32_t id) {
  const auto wanted = program.value(id);
  clone_args arguments = {};
  arguments.flags = static_cast<__u64>(flags);
  arguments.exit_signal = static_cast<__u64>(exit_signal);
  arguments.set_tid_size = 1;
  const auto place = program.value(arguments);
  program.pointer(place, offsetof(clone_args, set_tid), wanted);
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

}  // namespace

Result<std::vector<Birth>> plan_births(const Snapshot& snapshot) {
  // The session that each process has to be born into; 0: any will do.
  std::map<std::int32_t, std::int32_t> wanted;
  for (auto it = snapshot.processes.rbegin(); it != snapshot.processes.rend(); ++it) {
    auto& own = wanted[it->pid];  // a child may have asked for one already
    if (it->session != it->pid) {
      if (own != 0 && own != it->session)
        return Err("process {}: a child is in session {}, which this process was never in", it->pid, own);
      own = it->session;
    }
    if (own == 0) continue;
    const auto* parent = snapshot.find(it->ppid);
    if (parent == nullptr || parent->session == own) continue;
    auto& parents = wanted[parent->pid];
    if (parents != 0 && parents != own)
      return Err("process {}: its children are in sessions {} and {}", parent->pid, parents, own);
    parents = own;
  }
  std::unordered_map<std::int32_t, std::vector<const Process*>> children;
  for (const auto& process : snapshot.processes) children[process.ppid].push_back(&process);
  std::vector<Birth> births;
  for (const auto& process : snapshot.processes) {
    Birth birth{&process, {}, {}};
    const bool leader = process.session == process.pid;
    if (snapshot.find(process.ppid) == nullptr && wanted[process.pid] != 0)
      return Err("process {}: the leader of session {} is not above it", process.pid, wanted[process.pid]);
    for (const auto* child : children[process.pid]) {
      const auto session = wanted[child->pid];
      if (session == 0 || session == process.session)
        birth.after_setsid.push_back(child);
      else if (leader && session == wanted[process.pid])
        birth.before_setsid.push_back(child);
      else
        return Err("process {}: its session {} cannot have come from its parent", child->pid, session);
    }
    births.push_back(std::move(birth));
  }
  return births;
}

Program compile_roots(const std::vector<const Process*>& roots, const RestartableSequence& own_rseq,
                      const std::string& offsets, const Snapshot& snapshot) {
  Program program;
  if (own_rseq.pointer != 0)
    program.call(SYS_rseq, {own_rseq.pointer, own_rseq.size, kRseqUnregister, own_rseq.signature});
  program.call(SYS_close_range, {0, ~0U, 0});
  if (!offsets.empty()) {
    program.call(SYS_unshare, {0x80 /* CLONE_NEWTIME */});
    program.call(SYS_open, {program.text("/proc/self/timens_offsets"), O_WRONLY});  // descriptor 0
    program.call(SYS_write, {0, program.text(offsets), offsets.size()});
    program.call(SYS_close, {0});
  }
  std::map<std::uint32_t, std::vector<const Process*>> with_keyring;
  const auto common = keyrings_of_many_roots(snapshot);
  for (const auto* root : roots) {
    if (root->stopped && root->stopped->keyring && common.contains(*root->stopped->keyring))
      with_keyring[*root->stopped->keyring].push_back(root);
    else
      make_task(program, CLONE_PARENT, 0, root->pid);
  }
  for (const auto& [keyring, its_roots] : with_keyring) {
    program.append(compile_join(snapshot.keyrings[keyring]));
    for (const auto* root : its_roots) make_task(program, CLONE_PARENT, 0, root->pid);
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
      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  for (const auto& thread : process.threads) {
    if (thread.tid != process.pid) make_task(program, kFlags, 0, thread.tid);
  }
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
