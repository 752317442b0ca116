#include "engine/rebuild/task/births.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "engine/rebuild/calls/restorer_pidfd.h"
#include "engine/rebuild/task/clone.h"
#include "engine/rebuild/task/keyrings.h"
#include "engine/tree/inner_ids.h"

namespace upkeep::engine {
namespace {

using Ids = std::vector<std::int32_t>;

// Descriptor 0 leads to the restorer, and 1 is free.
void enter_pid_namespace_of(Program& program, std::int32_t id) {
  program.call(SYS_pidfd_open, {id, 0});
  program.call(SYS_setns, {1, CLONE_NEWPID});
  program.call(SYS_close, {1});
}

// In a process that lives where PARENT does. The first process of a PID namespace makes that; others that
// their parent makes in there become siblings of it.
void make_child(Program& program, const Birth& birth, const Process& child, std::int32_t restorer,
                std::uint64_t flags) {
  const auto& parent = *birth.process;
  const auto ids = wanted_ids(child.pid, child.inner_pids);
  if (!enters_namespace(parent, child)) return clone_task(program, flags, child.exit_signal, ids);
  open_restorer(program, parent, restorer);
  std::int32_t init = 0;
  for (const auto* other : birth.children()) {
    if (other->pid_namespace == child.pid_namespace && is_init(*other)) init = seen_by(parent, *other);
  }
  if (!is_init(child)) enter_pid_namespace_of(program, init);
  clone_task(program, is_init(child) ? CLONE_NEWPID : 0, child.exit_signal, ids);
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
  if (!root.first_of_namespace) return clone_task(program, CLONE_PARENT, 0, root.ids);
  program.call(SYS_pidfd_open, {restorer, 0});
  clone_task(program, CLONE_PARENT | CLONE_NEWPID, 0, root.ids);
  program.call(SYS_close, {0});
}

}  // namespace

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
  if (process.session == process.pid) take_terminal(program, process, terminals);
  for (const auto* child : birth.after_setsid) make_child(program, birth, *child, terminals.restorer, flags);
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
