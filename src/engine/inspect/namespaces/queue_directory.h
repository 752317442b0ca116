#pragma once
// POSIX message queues of an IPC namespace are files of a file system of its own (mq_overview(7)), which need
// not be mounted anywhere.

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::engine {

// Its root directory, of the IPC namespace that we are in; no descriptor where the kernel has no such queues.
Result<os::UniqueFd> open_queue_directory();

}  // namespace upkeep::engine
