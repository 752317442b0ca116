#pragma once
// A descriptor of another process as one of our own (pidfd_getfd(2), Linux 5.6): it leads to the same open
// file description, so that whatever is changed through it changes for the process too.

#include <sys/types.h>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// PROCESS: a pidfd of PID. The error has the code EBADF where FD is closed, and ESRCH where the process has ended.
Result<UniqueFd> borrow_descriptor(Fd process, pid_t pid, int fd);
Result<UniqueFd> borrow_descriptor(pid_t pid, int fd);

}  // namespace upkeep::os
