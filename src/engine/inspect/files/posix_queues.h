#pragma once
// POSIX message queues, mq_overview(7): those that the tree has open, and those of our IPC namespace that no
// process has open. They are files of a file system of the namespace's (namespaces/queue_directory.h).

#include <sys/stat.h>

#include <string>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/look.h"
#include "engine/inspect/calls/reason.h"
#include "engine/inspect/files/descriptor_facts.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

bool is_posix_queue(const std::string& link);  // of /proc/PID/fd
// A queue that the descriptor leads to, whose STATUS this is. Returns why it cannot be made again.
Result<std::vector<Reason>> read_posix_queue(const DescriptorFacts& facts, const struct stat& status,
                                             Look tasks, PathFile& path, Snapshot& snapshot);
// Those that no process has open, and whether others have those of the tree open too.
Result<void> read_posix_queues(Snapshot& snapshot);

}  // namespace upkeep::engine
