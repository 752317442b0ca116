#pragma once
// What is mapped where: /proc/PID/smaps (whose flags maps does not show), and auxv. The layout is read with
// the process (task/identity.h), but for the current end of the heap (brk), which the task itself says.

#include <sys/types.h>

#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/look.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

// DIRECTORY: /proc/PID.
Result<void> read_address_space(pid_t pid, os::Fd directory, Look tasks, AddressSpace& space,
                                std::vector<Obstacle>& obstacles);

}  // namespace upkeep::engine
