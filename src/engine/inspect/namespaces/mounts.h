#pragma once
// A mount namespace as proc_pid_mountinfo(5) shows it, and what each mount of it is beside our own ones: the
// same file system, shown from the same directory of it, or one that only this namespace shows.

#include <sys/types.h>

#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// What cannot be made again is among the OBSTACLES.
Result<std::vector<Mount>> read_mounts(pid_t pid, std::vector<Obstacle>& obstacles);

}  // namespace upkeep::engine
