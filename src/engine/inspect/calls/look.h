#pragma once
// In what state the tasks are that are looked at, and whether others are looked at too.

namespace upkeep::engine {

enum class Look {
  glance,     // they run: what goes away between two looks is left out, and what takes a stop is not read
  stopped,    // they stand still, and go on afterwards or end
  just_made,  // by us: they stand still and have not run, and what they have from us is not looked at
};
constexpr bool stand_still(Look tasks) { return tasks != Look::glance; }

enum class Scope {
  // Nothing but the trees' own processes.
  trees,
  // Also which processes outside hold the same objects, and what the machine has for all: objects of System V,
  // pools of huge pages.
  with_outside,
};

}  // namespace upkeep::engine
