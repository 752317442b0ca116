#pragma once
// pidfd_open(2): which process a pidfd stands for.

#include <string>
#include <vector>

#include "common/result.h"
#include "engine/inspect/files/descriptor_facts.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Returns why it cannot be made again; empty where it can.
Result<std::vector<std::string>> read_pidfd(const DescriptorFacts& facts, PidFile& pidfd);

}  // namespace upkeep::engine
