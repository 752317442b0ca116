#pragma once
// What parents know of children that job control has stopped.

#include "common/result.h"
#include "engine/inspect/calls/stop.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Fills in StoppedProcess::stop_untold where the parent is part of the tree: only it can ask (waitid(2)), and
// what it is told it is told again.
Result<void> read_untold_stops(const StoppedTree& tree, Snapshot& snapshot);

}  // namespace upkeep::engine
