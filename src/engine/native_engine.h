#pragma once
// This project's own engine behind the seam (engine/engine.h): tasks are read from outside, kept as plain
// data, and made again by programs of system calls. Nothing is put into them, and nothing is asked of them.
//
// While a StoodStill is held, the tasks stand in ptrace stops of this process: whatever ends it lets them go.

#include <memory>

#include "engine/engine.h"

namespace upkeep::engine {

std::unique_ptr<Engine> make_engine();

}  // namespace upkeep::engine
