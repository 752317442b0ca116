#pragma once
// Files that watch something else: folders and processes.

#include <cstdint>
#include <string>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

// Watches have the numbers that they had.
Result<os::UniqueFd> make_inotify(const Inotify& inotify);

// The process may be one that has been made again, one outside that still runs, or one that has ended: a boot
// ends everything but what is carried.
Result<os::UniqueFd> make_pidfd(const OpenFile& file, const Snapshot& snapshot);

// pidfds and files of /proc/PID cannot be opened before there is a task.
bool is_late(const OpenFile& file);

}  // namespace upkeep::engine
