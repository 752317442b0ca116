#pragma once
// inotify(7): what an instance watches, which are inodes, for which a path has to be found.

#include <string>
#include <vector>

#include "common/result.h"
#include "engine/inspect/files/descriptor_facts.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Returns why it cannot be made again; empty where it can.
Result<std::vector<std::string>> read_inotify(const DescriptorFacts& facts, Inotify& inotify);

}  // namespace upkeep::engine
