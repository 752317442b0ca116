#pragma once
// Tasks with the IDs that they had: clone3(2) with set_tid (5.5; for processes in PID namespaces too).

#include <cstdint>
#include <vector>

#include "engine/rebuild/calls/program.h"

namespace upkeep::engine {

// IDS: the wanted ones, the innermost PID namespace's first. MAY_FAIL: whoever runs the program looks at what
// the call has returned.
void clone_task(Program& program, std::uint64_t flags, std::int32_t exit_signal,
                const std::vector<std::int32_t>& ids, bool may_fail = false);

}  // namespace upkeep::engine
