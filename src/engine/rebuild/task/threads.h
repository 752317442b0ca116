#pragma once
// Threads of processes, traced like their makers.

#include <sys/types.h>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/call_arena.h"
#include "engine/rebuild/calls/program.h"
#include "engine/rebuild/task/new_tasks.h"

namespace upkeep::engine {

// In the first thread. The others come to be traced (CLONE_PTRACE) without a stop of it for each: it must not
// follow new tasks itself.
Program compile_threads(const Process& process);
// Adds them to MADE, at their first stops. Where not ALL could be made, those that are there.
Result<void> take_threads(const Process& process, bool all, NewProcess& made);

// The same for a process that has entered a user namespace of its own, where no ID can be asked for: the
// kernel gives IDs in turn, so that one is as good as asked for (ns_last_pid), unless somebody else is
// faster.
Result<void> make_numbered_threads(const Process& process, NewProcess& made, CallArena& arena);

}  // namespace upkeep::engine
