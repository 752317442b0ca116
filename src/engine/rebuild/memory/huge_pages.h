#pragma once
// The kernel's pools of huge pages, before anything takes pages from them.

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// The error says which pool has too few, and what to do about it. Segments that are still there have theirs.
Result<void> huge_pages_suffice(const Snapshot& snapshot);

}  // namespace upkeep::engine
