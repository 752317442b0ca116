#pragma once
// What parents know of children that job control has stopped.

#include "common/result.h"
#include "engine/native/inspect/stop.h"
#include "engine/native/model/snapshot.h"

namespace upkeep::native {

// Fills in StoppedProcess::stop_untold where the parent is part of the tree: only it can ask (waitid(2)), and
// what it is told it is told again.
Result<void> read_untold_stops(const StoppedTree& tree, Snapshot& snapshot);

}  // namespace upkeep::native
