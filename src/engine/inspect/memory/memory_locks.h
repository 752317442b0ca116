#pragma once
// mlockall(2) with MCL_FUTURE, which nothing shows but what happens to a new mapping.

#include <cstdint>

#include "common/result.h"
#include "engine/inspect/calls/guest_questions.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// MCL_ flags for mappings that are still to be made; 0: none.
Result<std::uint32_t> read_future_locks(ThreadCalls& calls, const Process& process);

}  // namespace upkeep::engine
