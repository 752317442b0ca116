#pragma once
// What makes a rebuild impossible, found before anything is made.

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "engine/native/rebuild/namespaces.h"

namespace upkeep::native {

// IDs that are taken, mapped files that are not there, another vdso, a kernel that knows less.
Result<void> look_for_what_is_in_the_way(const Snapshot& snapshot, const AllNamespaces& namespaces);

}  // namespace upkeep::native
