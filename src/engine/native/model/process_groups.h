#pragma once
// The part of the plan that is about process groups.

#include <optional>

#include "engine/native/model/births.h"

namespace upkeep::native {

// Fills in Births::lost_groups and left_groups, or names the group that cannot be made again.
std::optional<Obstacle> plan_groups(const Snapshot& snapshot, Births& births);

}  // namespace upkeep::native
