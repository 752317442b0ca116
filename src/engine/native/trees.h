#pragma once
// Trees of tasks looked at, written to a folder, and made again from it, by this project's own engine.

#include <string>
#include <vector>

#include "common/result.h"
#include "engine/native/model/snapshot.h"

namespace upkeep::native {

struct Inspected {
  Snapshot snapshot;
  std::int64_t stopped_ns = 0;  // how long the tasks stood still; 0: they did not
};

// Refuses what collect() in engine/carry_set.h refuses. What could not be carried is no error here but listed
// in the snapshot. STOP: false reads only what needs no stop.
Result<Inspected> inspect_trees(const std::vector<pid_t>& roots, bool stop);

}  // namespace upkeep::native
