#pragma once
// keyrings(7): what a session keyring holds. Only who possesses a key may read most of them, so the task
// itself is asked.

#include "common/result.h"
#include "engine/inspect/calls/guest_questions.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// SERIAL: of the session keyring; none: negative.
Result<void> read_keyring(ThreadCalls& calls, long serial, Process& process, Snapshot& snapshot);
// Keyrings of a process or a thread are not rebuilt: refused where there is something in them.
Result<void> look_for_other_keyrings(ThreadCalls& calls, const Thread& thread, Snapshot& snapshot);

}  // namespace upkeep::engine
