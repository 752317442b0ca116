#include "engine/rebuild/calls/restorer_pidfd.h"

#include <sys/syscall.h>

#include "engine/tree/inner_ids.h"

namespace upkeep::engine {

void open_restorer(Program& program, const Process& process, std::int32_t restorer) {
  if (depth_of(process) == 0) program.call(SYS_pidfd_open, {restorer, 0});
}

void close_restorer(Program& program, const Process& process) {
  if (depth_of(process) == 0) program.call(SYS_close, {0});
}

}  // namespace upkeep::engine
