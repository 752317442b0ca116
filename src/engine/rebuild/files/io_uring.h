#pragma once
// io_uring instances, of which nothing is in flight.

#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/memory/kept_key.h"
#include "os/fd.h"

namespace upkeep::engine {

// One of the same shape, that has counted as many requests and completions, with the memory that it had. Who
// makes it does not matter: each request is made in the name of the task that submits it.
Result<os::UniqueFd> make_io_uring(const IoUring& uring);

// FILES, one for each of Snapshot::files: those that are mapped are added to KEPT.
Result<void> add_rings_for_mappings(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files,
                                    KeptDescriptors& kept);

}  // namespace upkeep::engine
