#pragma once
// Descriptors of processes, pidfd_open(2).

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

// When all tasks are there. The process may be one that has been made again, one outside that still runs, or
// one that has ended: a boot ends everything but what is carried.
Result<os::UniqueFd> make_pidfd(const OpenFile& file, const Snapshot& snapshot);

}  // namespace upkeep::engine
