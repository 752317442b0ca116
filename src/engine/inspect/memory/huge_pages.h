#pragma once
// Pools of huge pages, as a whole.

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Whether the machine has as many as the tree will take.
Result<void> look_at_huge_pages(Snapshot& snapshot);

}  // namespace upkeep::engine
