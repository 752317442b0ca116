#pragma once
// What one descriptor leads to.

#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/look.h"
#include "engine/inspect/files/descriptor_facts.h"
#include "engine/inspect/sockets/socket_reading.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

struct OpenFileReading {
  OpenFile file;
  std::vector<InFlight> in_flight;  // descriptors on their way through it, where it is a socket
};

// Why it cannot be made again is among the obstacles of SNAPSHOT, what is not carried with it among the
// losses.
Result<OpenFileReading> read_open_file(const DescriptorFacts& facts, Look tasks, Snapshot& snapshot);

}  // namespace upkeep::engine
