#pragma once
// Sessions and process groups whose leaders are not part of the tree.

#include "engine/inspect/calls/outside_processes.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Leaders that have ended can be stood in for (model/births.h), as long as nobody outside is left in what
// they led: its ID is there once. What cannot be is named, once for each ID; then the answer is false.
bool look_at_leaders(const OutsideProcesses& outside, Snapshot& snapshot);

}  // namespace upkeep::engine
