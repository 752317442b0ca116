#pragma once
// io_uring instances of which nothing is in flight.

#include <string>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/look.h"
#include "engine/inspect/calls/reason.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

// RING: a descriptor of ours for what /proc/PID/fdinfo/FD is about. Returns why it cannot be made again;
// empty where it can. Its memory is read only while the tasks stand still.
Result<std::vector<Reason>> read_io_uring(const std::string& fdinfo, os::Fd ring, Look tasks, IoUring& uring);
// What processes have mapped of rings, when all descriptors are known.
void look_at_mapped_rings(Snapshot& snapshot);

}  // namespace upkeep::engine
