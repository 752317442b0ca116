#pragma once
// Whether a snapshot, valid as it may be, holds all that programs are compiled from.

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Obstacles, tasks that were not stopped when they were read, mappings of an unknown kind, IDs of timers that
// this kernel could not give in reasonable time. TIMER_IDS: it takes wanted ones.
Result<void> check_complete(const Snapshot& snapshot, bool timer_ids);

}  // namespace upkeep::engine
