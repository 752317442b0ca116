#pragma once
// Filters of system calls, seccomp(2), which ptrace(2) gives back as they were installed.

#include "common/result.h"
#include "engine/inspect/calls/stop.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Of every thread of a stopped process; each filter is in SNAPSHOT once.
Result<void> read_seccomp(const HeldProcess& held, Process& process, Snapshot& snapshot);

}  // namespace upkeep::engine
