#pragma once
// Puts restored tasks back where systemd expects them.

#include <string>

#include "common/result.h"
#include "engine/carry_set.h"

namespace upkeep::machine {

// Moves every task of SET into the cgroup (version 2) that it was recorded in, below ROOT; missing groups are
// made, parents first. No version 2 hierarchy at ROOT: nothing to do. systemd, when it starts as PID 1
// afterwards, keeps groups that have tasks. The error names the first task that could not be moved; the
// others have been.
Result<void> place_in_cgroups(const engine::CarrySet& set, const std::string& root = "/sys/fs/cgroup");

}  // namespace upkeep::machine
