#pragma once
// Process groups, setpgid(2), when all processes of a session are there.

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"

namespace upkeep::engine {

Program compile_own_group();  // in whoever leads one
Program compile_group(const Process& process);

}  // namespace upkeep::engine
