#pragma once
// Waits that are made anew when a tree runs again, and whose timeout lies in memory that is the program's:
// sigtimedwait, semtimedop, epoll_pwait2.

#include "common/result.h"
#include "engine/model/task/task.h"

namespace upkeep::engine {

// Such a thread gets what is left of its time from a page of its own, which stays: its register points there.
// No compiler keeps a pointer that it gave to a system call in a register that calls do not preserve.
Result<void> shorten_timeouts(Process& process);

}  // namespace upkeep::engine
