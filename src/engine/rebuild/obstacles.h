#pragma once
// What makes a rebuild impossible, found before anything is made.

#include <cstdint>
#include <set>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/namespaces/namespaces.h"

namespace upkeep::engine {

// IDS (needed_ids()) that are taken, by a task or by a session or process group that somebody is left in;
// mapped files that are not there, another vdso, a kernel that knows less.
Result<void> look_for_obstacles(const Snapshot& snapshot, const std::set<std::int32_t>& ids,
                                const AllNamespaces& namespaces);

}  // namespace upkeep::engine
