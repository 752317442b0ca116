#pragma once
// The part of the plan that is about process groups.

#include <optional>

#include "engine/tree/births.h"

namespace upkeep::engine {

// Fills in Births::lost_groups and left_groups, or names the group that cannot be made again.
std::optional<Obstacle> plan_groups(const Snapshot& snapshot, Births& births);

}  // namespace upkeep::engine
