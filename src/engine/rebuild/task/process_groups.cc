#include "engine/rebuild/task/process_groups.h"

#include <sys/syscall.h>

#include "engine/tree/inner_ids.h"

namespace upkeep::engine {

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

}  // namespace upkeep::engine
