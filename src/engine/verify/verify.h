#pragma once
// The last step before rebuilt tasks may run: they are looked at again.

#include "common/result.h"
#include "engine/inspect/calls/stop.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/rebuild.h"

namespace upkeep::engine {

// The same model is read from the new tasks and compared with WANTED (compare.h). They run when the result
// is let go. After an error there are none.
Result<StoppedTree> verify(const Snapshot& wanted, NewTasks tasks);

}  // namespace upkeep::engine
