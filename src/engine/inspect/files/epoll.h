#pragma once
// epoll(7): what a set watches.

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "engine/inspect/calls/look.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// A descriptor that leads to an open file.
struct OpenFilePlace {
  pid_t pid;
  int fd;
  std::uint32_t file;  // of Snapshot::files
  std::uint64_t inode;
};

// Entries of epoll sets name files by number: which ones these are is worked out when all descriptors are
// known. PLACES: one for each of Snapshot::files, in their order.
void find_watched_files(const std::vector<OpenFilePlace>& places, Look tasks, Snapshot& snapshot);

}  // namespace upkeep::engine
