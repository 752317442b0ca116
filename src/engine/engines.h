#pragma once
// The engines that there are, by name.

#include <memory>
#include <string>

#include "common/result.h"
#include "engine/engine.h"

namespace upkeep::engine {

// The error lists those that there are.
Result<std::unique_ptr<Engine>> make_engine(const std::string& name);

}  // namespace upkeep::engine
