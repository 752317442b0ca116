#pragma once
// Terminals behind descriptors, and controlling ones.

#include <sys/stat.h>

#include <vector>

#include "common/result.h"
#include "engine/inspect/files/descriptor_facts.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Whether a character device is a terminal; then FILE leads to it.
Result<bool> read_terminal_end(const DescriptorFacts& facts, const struct stat& status, OpenFile& file,
                               std::vector<Obstacle>& obstacles);

// Fills in Snapshot::terminals from the descriptors and the processes; what cannot be made again is an
// obstacle.
Result<void> read_terminals(Snapshot& snapshot);

// What has been written to them and not been read. Reading takes it away, so it is put back at once
// (os/terminal.h); where there is an obstacle already, it is left alone.
Result<void> read_terminal_queues(Snapshot& snapshot);

}  // namespace upkeep::engine
