#pragma once
// Job control's stops, made again.

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/call_arena.h"
#include "engine/rebuild/calls/program.h"
#include "engine/rebuild/task/new_tasks.h"

namespace upkeep::engine {

// Stops who was stopped, by the same signal, and has parents wait for the stops that had been reported to
// them. Parents are sent SIGCHLD: before their pending signals are put back. When a thread is interrupted
// afterwards its stop is reported as one of job control's.
Result<void> stop_jobs(const Snapshot& snapshot, NewTasks& tasks, CallArena& arena);

// In PARENT: waits for the stop of STOPPED, which is not reported again then.
Program compile_wait_for_stop(const Process& parent, const Process& stopped);

}  // namespace upkeep::engine
