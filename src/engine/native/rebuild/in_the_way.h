#pragma once
// What makes a rebuild impossible, found before anything is made.

#include "common/result.h"
#include "engine/native/model/snapshot.h"

namespace upkeep::native {

// IDs that are taken, mapped files that are not there, another vdso.
Result<void> look_for_what_is_in_the_way(const Snapshot& snapshot);

}  // namespace upkeep::native
