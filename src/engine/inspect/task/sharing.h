#pragma once
// What processes have in common that fork(2) gives each of them: after clone(2) with CLONE_VM, CLONE_FILES or
// CLONE_FS, and in vfork(2) until the child starts its program.

#include "engine/inspect/calls/outside_processes.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Whoever shares address space, table of descriptors or directories with another process of the tree, or with
// one outside, is named: they would be apart afterwards.
void look_at_sharing(const OutsideProcesses& outside, Snapshot& snapshot);

}  // namespace upkeep::engine
