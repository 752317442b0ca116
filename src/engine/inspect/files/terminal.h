#pragma once
// Terminals behind descriptors, and controlling ones.

#include <sys/stat.h>

#include <vector>

#include "common/result.h"
#include "engine/inspect/outside_processes.h"
#include "engine/inspect/readers.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Whether a character device is a terminal; then FILE leads to it.
Result<bool> read_terminal_end(const DescriptorFacts& facts, const struct stat& status, OpenFile& file,
                               std::vector<Obstacle>& obstacles);

// Fills in Snapshot::terminals from the descriptors and the processes, and tells what stands in the way.
Result<void> read_terminals(Snapshot& snapshot);

// What has been written to them and not been read. Reading takes it away, so it is put back at once
// (os/terminal.h); where something else stands in the way, it is left alone.
Result<void> read_terminal_queues(Snapshot& snapshot);

// terminal_users.cc: processes that are not part of the tree and use one of its terminals, or hold the other
// side of one.
void find_outside_users_of_terminals(const Strangers& strangers, Snapshot& snapshot);

}  // namespace upkeep::engine
