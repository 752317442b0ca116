#pragma once
// The last step: processes get their registers, and lose the arena.

#include <span>
#include <vector>

#include "common/result.h"
#include "engine/model/task/task.h"
#include "engine/rebuild/calls/call_arena.h"
#include "os/ptrace.h"

namespace upkeep::engine {

// Afterwards every thread stands where the recorded one stood, at a point from where the kernel takes
// interrupted system calls up again. THREADS are in the order of the model.
struct Unfinished {
  const Process* process;
  const std::vector<os::Tracee>* threads;
};
Result<void> finish(std::span<const Unfinished> processes, CallArena& arena);

}  // namespace upkeep::engine
