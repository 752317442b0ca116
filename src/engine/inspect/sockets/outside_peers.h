#pragma once
// Sockets that are connected to processes outside of the tree.

#include "engine/inspect/calls/look.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// When the whole tree is known. What is found by its name again is no obstacle: journald's streams, and
// receivers of datagrams. Where the tasks stand still, what was written to them has to be read before the
// tree may be carried, since it is held by processes that are not; that is a matter of milliseconds, for
// these run.
void look_outside(Snapshot& snapshot, Look tasks);

}  // namespace upkeep::engine
