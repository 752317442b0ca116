#include "engine/rebuild/task/stand_ins.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "engine/rebuild/task/clone.h"
#include "engine/tree/inner_ids.h"

namespace upkeep::engine {

Program compile_stand_in_birth(const std::vector<std::int32_t>& ids, bool leads) {
  Program program;
  clone_task(program, 0, SIGCHLD, ids, !leads);
  return program;
}

// Those that are adopted have SIGCHLD as their exit signal: reparent_leader() of kernel/exit.c.
Program compile_stand_in(const StandIn& stand_in) {
  Program program;
  if (stand_in.leads) program.call(SYS_setsid, {});
  for (const auto* child : stand_in.children)
    clone_task(program, 0, SIGCHLD, wanted_ids(child->pid, child->inner_pids));
  return program;
}

Program compile_stand_in_end() {
  Program program;
  program.call(SYS_exit_group, {0});
  return program;
}

Program compile_reap(std::int32_t stand_in) {
  Program program;
  program.call(SYS_wait4, {stand_in, 0, 0, 0});
  return program;
}

Program compile_adoption(bool adopts) {
  Program program;
  program.call(SYS_prctl, {PR_SET_CHILD_SUBREAPER, adopts ? 1 : 0, 0, 0, 0});
  return program;
}

}  // namespace upkeep::engine
