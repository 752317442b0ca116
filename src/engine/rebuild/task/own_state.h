#pragma once
// What each thread sets by itself once all tasks are there, as one program: each start and stop of a task
// costs more than most of the calls in it.

#include <cstddef>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"
#include "engine/rebuild/task/inherited.h"

namespace upkeep::engine {

struct OwnState {
  bool timer_ids = false;                // the kernel gives timers the IDs that are asked for (6.15)
  bool user_namespace = false;           // the process lives in one of its own
  const Inherited* inherited = nullptr;  // what the thread has already; nullptr: not known
  std::size_t common_filters = 0;        // count_common_filters() of the process
};
// By the first thread also what belongs to the whole process: signal actions, timers, limits. Credentials
// come last, for nothing that needs privilege works after them.
Program compile_own_state(const Snapshot& snapshot, const Process& process, const Thread& thread,
                          OwnState how);

}  // namespace upkeep::engine
