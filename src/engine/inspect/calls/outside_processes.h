#pragma once
// Who else runs on the machine: programs that are neither part of the tree nor we.

#include <sys/types.h>

#include <vector>

#include "engine/model/snapshot.h"

namespace upkeep::engine {

using OutsideProcesses = std::vector<pid_t>;

// Ascending, without threads of the kernel's. Looked up once for all who ask about them: it takes a look at
// every process there is. Children that a running tree has had since it was listed are none of them: they are
// part of it when it is stopped. None where /proc cannot be read.
OutsideProcesses outside_processes(const Snapshot& snapshot);

}  // namespace upkeep::engine
