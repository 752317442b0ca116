#pragma once
// Who else runs on the machine: processes that are neither part of the tree nor we.

#include <sys/types.h>

#include <vector>

#include "engine/native/model/snapshot.h"

namespace upkeep::native {

// Ascending. Children that a running tree has had since it was listed are none of them: they are part of it
// when it is stopped. Nobody where /proc cannot be read.
std::vector<pid_t> strangers_to(const Snapshot& snapshot);

}  // namespace upkeep::native
