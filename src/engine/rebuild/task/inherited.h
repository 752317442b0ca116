#pragma once
// What a new task has because we have it: of that, nothing has to be set in it again. Among many threads this
// is most of what would be done in each, and a task that has more than it should is found when what was made
// is compared.

#include "common/result.h"
#include "engine/model/task/task.h"

namespace upkeep::engine {

struct Inherited {
  Credentials credentials;
  Scheduling scheduling;
};
// Of the calling thread, as the model has them of others.
Result<Inherited> what_is_inherited();

// The highest number that capabilities(7) have on this kernel.
int highest_capability();

}  // namespace upkeep::engine
