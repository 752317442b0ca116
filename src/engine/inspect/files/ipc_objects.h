#pragma once
// System V semaphores and message queues of our IPC namespace, sysvipc(7), from /proc/sysvipc and by looking.
// (Shared memory: kept_files.h.)

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// All but those that others use.
Result<void> read_ipc_objects(Snapshot& snapshot);

}  // namespace upkeep::engine
