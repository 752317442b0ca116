#pragma once
// What /proc and system calls about other tasks say of each process without a stop of its own, read for
// several processes and threads at a time: most of the time that it takes is the kernel's, walking page
// tables and names, and nothing of one process waits for another one.

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/look.h"
#include "engine/inspect/calls/stop.h"
#include "engine/inspect/files/descriptor_facts.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

struct FromProc {
  Process process;
  std::vector<std::string> statuses;  // of its threads, in their order
  std::vector<Obstacle> obstacles;
  // None where names of its files have to be looked up in a mount namespace of its own.
  std::optional<std::vector<DescriptorFacts>> descriptors;
  Result<void> outcome;  // the error: it has ended meanwhile, or cannot be read
};

// Is given each of them, by its number, in their order and in the calling thread, while others are still
// read. Its error ends the reading.
using TakeFromProc = std::function<Result<void>(std::size_t, FromProc&)>;

// Of running tasks: mappings without their flags, threads and descriptors that go away meanwhile left out.
Result<void> glance_at_proc(const std::vector<pid_t>& pids, const TakeFromProc& take);
FromProc glance_at_proc(pid_t pid);
// Of tasks that stand still. Of those just made, security labels and namespaces of threads are not looked at.
Result<void> read_from_proc(const std::vector<HeldProcess>& processes, Look tasks, const TakeFromProc& take);

}  // namespace upkeep::engine
