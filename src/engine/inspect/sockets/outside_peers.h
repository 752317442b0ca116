#pragma once
// Sockets that are connected to processes outside of the tree.

#include "engine/model/snapshot.h"

namespace upkeep::engine {

// When the whole tree is known. What is found by its name again is no obstacle: journald's streams, and
// receivers of datagrams. STOPPED: what was written to them has to be read before the tree may be carried,
// since it lies in nobody's hands that are; that is a matter of milliseconds, for they run on.
void look_outside(Snapshot& snapshot, bool stopped);

}  // namespace upkeep::engine
