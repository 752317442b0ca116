#pragma once
// Registers, signals, and what else ptrace(2) says of a thread that stands still.

#include <string>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/stop.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// STATUSES: the texts of its threads' /proc/PID/task/TID/status.
Result<void> read_stopped(const HeldProcess& held, const std::vector<std::string>& statuses, Process& process,
                          std::vector<Obstacle>& obstacles);

}  // namespace upkeep::engine
