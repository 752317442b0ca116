#pragma once
// The last step before rebuilt tasks may run: they are looked at again.

#include "common/result.h"
#include "engine/native/inspect/stop.h"
#include "engine/native/model/snapshot.h"
#include "engine/native/rebuild/rebuild.h"

namespace upkeep::native {

// The same model is read from the new tasks and compared with WANTED (compare.h). They run when the result
// is let go. After an error there are none.
Result<StoppedTree> verify(const Snapshot& wanted, NewTasks tasks);

}  // namespace upkeep::native
