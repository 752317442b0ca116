#pragma once
// Job control's stops, made again.

#include "common/result.h"
#include "engine/rebuild/calls/call_arena.h"
#include "engine/rebuild/rebuild.h"

namespace upkeep::engine {

// Stops who was stopped, by the same signal, and has parents wait for the stops that they had been told of.
// Parents are sent SIGCHLD: before their pending signals are put back. When a thread is interrupted
// afterwards its stop is told as one of job control's.
Result<void> stop_jobs(const Snapshot& snapshot, NewTasks& tasks, Workshop& shop);

}  // namespace upkeep::engine
