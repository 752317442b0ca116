#pragma once
// io_uring instances of which nothing is in flight.

#include <string>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

struct RingReason {
  std::string why, remedy;
};
// RING: a descriptor of ours for what /proc/PID/fdinfo/FD tells of. Returns why it cannot be rebuilt; empty
// where it can. Its memory is read only while the tasks stand STOPPED.
Result<std::vector<RingReason>> read_io_uring(const std::string& fdinfo, os::Fd ring, bool stopped,
                                              IoUring& uring);
// What processes have mapped of rings, when all descriptors are known.
void look_at_mapped_rings(Snapshot& snapshot);

}  // namespace upkeep::engine
