#pragma once
// What makes a rebuild impossible, found before anything is made.

#include <cstdint>
#include <set>

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "engine/native/rebuild/namespaces.h"

namespace upkeep::native {

// IDS (needed_ids()) that are taken, by a task or by a session or process group that somebody is left in;
// mapped files that are not there, another vdso, a kernel that knows less.
Result<void> look_for_what_is_in_the_way(const Snapshot& snapshot, const std::set<std::int32_t>& ids,
                                         const AllNamespaces& namespaces);

}  // namespace upkeep::native
