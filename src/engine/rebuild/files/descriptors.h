#pragma once
// Descriptors and record locks of a process, taken from the process that restores with pidfd_getfd(2).

#include <cstdint>
#include <vector>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"

namespace upkeep::engine {

// SOURCES: descriptors of process RESTORER for each of Snapshot::files. Nothing is open before; close-on-exec
// flags and fcntl(2) locks are set too.
Program compile_descriptors(const Process& process, const std::vector<int>& sources, std::int32_t restorer);

}  // namespace upkeep::engine
