#pragma once
// Whether rebuilt tasks are what was recorded, before they run.

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// The error names the first difference: where, what was wanted and what is there. Not compared is what cannot be the
// same (comparable() of model/snapshot.h).
Result<void> compare(const Snapshot& wanted, Snapshot found);

}  // namespace upkeep::engine
