#pragma once
// pkeys(7). The kernel shows the key of a mapping (/proc/PID/smaps), but which ones a process has allocated
// only whoever uses one finds out: pkey_mprotect(2) of memory that is not there fails with ENOMEM for a key
// that can be used, and with EINVAL for any other one.

#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/guest_code.h"
#include "engine/inspect/calls/guest_questions.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Whether it has more than the first one is asked with the other questions; then the rest is.
void ask_first_protection_key(Process& process, std::vector<GuestQuestion>& questions);
Result<void> read_protection_keys(ThreadCalls& calls, Process& process, std::vector<Obstacle>& obstacles);
// Calls take arguments from memory as the thread may, and it returns from them over its stack: false, and an
// obstacle, where its rights do not allow that. Its registers have been read.
bool may_run_calls(const Process& process, const Thread& thread, const GuestCode& code,
                   std::vector<Obstacle>& obstacles);

}  // namespace upkeep::engine
