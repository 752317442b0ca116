#pragma once
// What /proc and system calls about other tasks tell of each process without a stop of its own, read for
// several processes and threads at a time: most of the time that it takes is the kernel's, walking page
// tables and names, and nothing of one process waits for another one.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/native/inspect/readers.h"
#include "engine/native/model/snapshot.h"

namespace upkeep::native {

struct FromProc {
  Process process;
  std::vector<std::string> statuses;  // of its threads, in their order
  std::vector<Obstacle> obstacles;
  // None where names of its files have to be looked up in a mount namespace of its own.
  std::optional<std::vector<DescriptorFacts>> descriptors;
  Result<void> outcome;  // the error: it has ended meanwhile, or cannot be read
};

// Of running tasks: mappings without their flags, threads and descriptors that go away meanwhile left out.
std::vector<FromProc> glance_at_proc(const std::vector<pid_t>& pids);
// Of tasks that stand still. MADE_HERE: we have made them, and they have not run yet: what their threads have
// from us, security labels and namespaces, is not looked at.
std::vector<FromProc> read_from_proc(const std::vector<HeldProcess>& processes, bool made_here);

}  // namespace upkeep::native
