#pragma once
// Processes that take the places of parents and leaders that have ended, for as long as it takes to make what
// came from them: engine/tree/births.h.

#include <cstdint>
#include <vector>

#include "engine/rebuild/calls/program.h"
#include "engine/tree/births.h"

namespace upkeep::engine {

// In the process whose child the stand-in becomes. IDS: in all PID namespaces, the innermost first. No other
// ID is as good where one has to LEAD its session; else the call may fail, and another ID is tried.
Program compile_stand_in_birth(const std::vector<std::int32_t>& ids, bool leads);
Program compile_stand_in(const StandIn& stand_in);  // in the stand-in: makes its children
Program compile_stand_in_end();                     // in the stand-in
Program compile_reap(std::int32_t stand_in);        // in its parent, by the ID there: no zombie of it is left
// In the adopter: whether those below come to it whose parents end (PR_SET_CHILD_SUBREAPER of prctl(2)).
Program compile_adoption(bool adopts);

}  // namespace upkeep::engine
