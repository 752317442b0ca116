#pragma once
// Obstacles that only the whole tree shows: objects shared with tasks that stay behind, what no order of
// births makes again.

#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Pipes that tasks outside hold too, leaders of sessions and groups that are not there, tables that processes
// share and threads do not. The tasks have to be there; they need not stand still.
void look_at_whole_tree(Snapshot& snapshot);

}  // namespace upkeep::engine
