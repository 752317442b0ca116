#pragma once
// The descriptor by which programs reach files of the process that restores: from a pidfd of it,
// pidfd_getfd(2) takes what it has open.

#include <cstdint>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"

namespace upkeep::engine {

// While nothing else is open: descriptor 0 becomes one that leads to RESTORER, and is closed again. A process
// that lives in a PID namespace of its own could not name it: there it is open from its birth until
// compile_descriptors().
void open_restorer(Program& program, const Process& process, std::int32_t restorer);
void close_restorer(Program& program, const Process& process);

}  // namespace upkeep::engine
