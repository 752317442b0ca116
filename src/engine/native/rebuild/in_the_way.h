#pragma once
// What makes a rebuild impossible, found before anything is made.

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "engine/native/rebuild/namespaces.h"

namespace upkeep::native {

// IDs that are taken, state that was not read, obstacles, mapped files that are not there, another vdso.
Result<void> look_for_what_is_in_the_way(const Snapshot& snapshot, const AllNamespaces& namespaces);

}  // namespace upkeep::native
