#pragma once
// Signal actions, timers, settings: what only a task itself can say, as questions to it.

#include <string_view>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/guest_questions.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Of the keyrings that a thread uses; none: negative.
struct KeyringSerials {
  long thread = 0, process = 0, session = 0;
};

// Those to THREAD, and where it is the first one of PROCESS also those about the process. Answers are written
// to what is given here, which has to stay where it is. STATUS: /proc/PID/task/TID/status.
Result<std::vector<GuestQuestion>> own_state_questions(std::string_view status, Process& process,
                                                       Thread& thread, KeyringSerials& keyrings,
                                                       std::vector<Obstacle>& obstacles);

}  // namespace upkeep::engine
