#pragma once
// Files that no path leads to, whose contents are part of the snapshot: shared memory, memfds, files whose
// names were removed. The contents are read through /proc/PID/map_files and /proc/PID/fd.

#include "common/result.h"
#include "engine/inspect/calls/look.h"
#include "engine/inspect/memory/page_request.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// When all mappings and descriptors are known. Contents are read only where the tasks stand still.
Result<void> read_kept_files(Snapshot& snapshot, const PageRequest& request, Look tasks);

}  // namespace upkeep::engine
