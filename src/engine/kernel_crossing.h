#pragma once
// A snapshot of another kernel's tasks as this kernel can make them.

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// The XSAVE areas get this kernel's length; an error names a thread that uses registers which this kernel
// does not save. Where the vdso differs: the old one becomes ordinary memory that leads to this kernel's,
// which gets a place of its own (rebuild/redirect_vdso.h). What is rebuilt, and what was rebuilt is compared
// with, is the result. A snapshot of this very kernel comes back as it was.
Result<Snapshot> for_this_kernel(Snapshot snapshot);

}  // namespace upkeep::engine
