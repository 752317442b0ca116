#pragma once
// The files, pipes, timers and so on of a snapshot, made by the restorer; its tasks take them from there.

#include <vector>

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::native {

// One descriptor for each of Snapshot::files. The error names the file.
Result<std::vector<os::UniqueFd>> open_files(const Snapshot& snapshot);

}  // namespace upkeep::native
