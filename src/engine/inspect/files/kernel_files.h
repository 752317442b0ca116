#pragma once
// Files that the kernel makes up, whose names say what they are: of /proc, of /sys and of cgroups.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/inspect/files/descriptor_facts.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

bool is_kernel_file(std::string_view path);
// Returns why it cannot be made again; empty where it can. FLAGS: with which it was opened.
std::vector<std::string> read_kernel_file(const DescriptorFacts& facts, std::uint32_t flags, PathFile& path);
// Files of /proc that belong to tasks which are not part of the tree are obstacles.
void look_at_foreign_files(Snapshot& snapshot);

}  // namespace upkeep::engine
