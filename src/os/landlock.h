#pragma once
// Who has restricted himself by Landlock, landlock(7): neither a file of /proc nor a system call tells of
// others, so the kernel's memory is asked (kernel_memory.h, and what that takes).

#include <sys/types.h>

#include <set>

#include "common/result.h"

namespace upkeep::os {

// The threads in such a domain, of all that our PID namespace shows, as they are now. Empty also where the
// kernel has no Landlock (before 5.13, or switched off). The error: nobody can tell here, and why.
Result<std::set<pid_t>> restricted_by_landlock();

}  // namespace upkeep::os
