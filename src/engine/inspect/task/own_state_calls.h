#pragma once
// What only a task itself can say (own_state_questions.h), by system calls that it makes.

#include <cstddef>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/stop.h"
#include "engine/model/snapshot.h"
#include "engine/tree/answers.h"

namespace upkeep::engine {

// All of TREE at once; SNAPSHOT has its processes in its order. From MANY_THREADS on they are asked by chains
// of calls (call_chain.h), fewer one by one. KNOWN: what they have answered already; nullptr: nothing.
Result<void> read_by_calls(const StoppedTree& tree, const std::vector<std::vector<std::string>>& statuses,
                           std::size_t many_threads, const KnownAnswers* known, Snapshot& snapshot);

}  // namespace upkeep::engine
