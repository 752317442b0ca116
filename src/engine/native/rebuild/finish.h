#pragma once
// The last step: a process gets its registers, and loses the workshop.

#include <vector>

#include "common/result.h"
#include "engine/native/model/task.h"
#include "engine/native/rebuild/workshop.h"
#include "os/ptrace.h"

namespace upkeep::native {

// Afterwards every thread stands where the recorded one stood, at a point from where the kernel takes
// interrupted system calls up again. THREADS are in the order of the model.
Result<void> finish_process(const Process& process, const std::vector<os::Tracee>& threads, Workshop& shop);

}  // namespace upkeep::native
