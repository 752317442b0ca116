#pragma once
// The files, pipes, timers and so on of a snapshot, made by the restorer; its tasks take them from there.

#include <vector>

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "engine/native/rebuild/kept_files.h"
#include "os/fd.h"

namespace upkeep::native {

// One descriptor for each of Snapshot::files; none yet for those that are about tasks of the tree (pidfds,
// files of /proc/PID). The error names the file.
Result<std::vector<os::UniqueFd>> open_files(const Snapshot& snapshot, const KeptFiles& kept);

// Those, when all tasks are there.
Result<void> open_late_files(const Snapshot& snapshot, std::vector<os::UniqueFd>& files);

}  // namespace upkeep::native
