#pragma once
// What stands in the way that no single task shows.

#include "engine/native/model/snapshot.h"

namespace upkeep::native {

// Pipes that tasks outside hold too, leaders of sessions and groups that are not there, tables that processes
// share and threads do not. The tasks have to be there; they need not stand still.
void look_at_whole_tree(Snapshot& snapshot);

}  // namespace upkeep::native
