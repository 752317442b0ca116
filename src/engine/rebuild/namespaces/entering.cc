#include "engine/rebuild/namespaces/entering.h"

#include <sched.h>
#include <sys/syscall.h>

#include "engine/rebuild/calls/restorer_pidfd.h"
#include "engine/tree/inner_ids.h"

namespace upkeep::engine {
namespace {

// Takes the namespace SOURCE of the restorer, which descriptor FROM leads to, as descriptor SPARE.
void enter(Program& program, int source, int type, int from, int spare) {
  program.call(SYS_pidfd_getfd, {from, source, 0});
  program.call(SYS_setns, {spare, type});
  program.call(SYS_close, {spare});
}

// The number that the kernel gives to the next descriptor, where those from FIRST on are looked at.
int lowest_free(const Process& process, int first) {
  for (const auto& descriptor : process.descriptors) first += descriptor.fd == first ? 1 : 0;
  return first;
}

}  // namespace

Program compile_childrens_time(const Process& process, const MadeNamespaces& namespaces,
                               std::int32_t restorer) {
  Program program;
  constexpr int kOwner = 0, kSpare = 1;  // nothing is open
  if (namespaces.time.valid()) {
    open_restorer(program, process, restorer);
    enter(program, namespaces.time.get(), CLONE_NEWTIME, kOwner, kSpare);
    close_restorer(program, process);
  }
  program.call(SYS_unshare, {CLONE_NEWTIME});
  return program;
}

Program compile_childrens_pids(const Snapshot& snapshot, const Process& process) {
  Program program;
  if (process.pid_namespace_for_children == 0) return program;
  const auto* init = init_of(snapshot, process.pid_namespace_for_children);
  if (init == nullptr) {
    program.call(SYS_unshare, {CLONE_NEWPID});
    return program;
  }
  const int spare = lowest_free(process, 0);
  program.call(SYS_pidfd_open, {seen_by(process, *init), 0});
  program.call(SYS_setns, {spare, CLONE_NEWPID});
  program.call(SYS_close, {spare});
  return program;
}

Program compile_namespaces(const Process& process, const Namespaces& wanted, const MadeNamespaces& namespaces,
                           std::int32_t restorer) {
  Program program;
  constexpr int kOwner = 0, kSpare = 1;  // nothing is open
  open_restorer(program, process, restorer);
  const bool time = namespaces.time.valid() && !wanted.time_for_children;
  if (time) enter(program, namespaces.time.get(), CLONE_NEWTIME, kOwner, kSpare);
  if (namespaces.uts.valid()) enter(program, namespaces.uts.get(), CLONE_NEWUTS, kOwner, kSpare);
  if (namespaces.ipc.valid()) enter(program, namespaces.ipc.get(), CLONE_NEWIPC, kOwner, kSpare);
  if (namespaces.net.valid()) enter(program, namespaces.net.get(), CLONE_NEWNET, kOwner, kSpare);
  if (namespaces.cgroup.valid()) enter(program, namespaces.cgroup.get(), CLONE_NEWCGROUP, kOwner, kSpare);
  if (namespaces.mnt.valid()) enter(program, namespaces.mnt.get(), CLONE_NEWNS, kOwner, kSpare);
  close_restorer(program, process);
  return program;
}

Program compile_user_namespace(const Process& process, const MadeNamespaces& namespaces,
                               std::int32_t restorer, const Program& outside) {
  Program program;
  const int from = lowest_free(process, 0), spare = lowest_free(process, from + 1);
  program.call(SYS_pidfd_open, {restorer, 0});
  program.call(SYS_pidfd_getfd, {from, namespaces.user.get(), 0});
  program.append(outside);
  program.call(SYS_setns, {spare, CLONE_NEWUSER});
  program.call(SYS_close, {spare});
  program.call(SYS_close, {from});
  return program;
}

}  // namespace upkeep::engine
