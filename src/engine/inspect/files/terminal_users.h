#pragma once
// Who else uses the terminals of a tree.

#include "engine/inspect/calls/outside_processes.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Processes that are not part of the tree and use one of its terminals, or hold the other side of one, are
// obstacles.
void find_outside_users_of_terminals(const OutsideProcesses& outside, Snapshot& snapshot);

}  // namespace upkeep::engine
