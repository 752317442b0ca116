#include "os/borrow_descriptor.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "os/child.h"

namespace upkeep::os {

Result<UniqueFd> borrow_descriptor(Fd process, pid_t pid, int fd) {
  UniqueFd borrowed(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
  if (!borrowed.valid()) return ErrnoErr("pidfd_getfd: descriptor {} of process {}", fd, pid);
  return borrowed;
}

Result<UniqueFd> borrow_descriptor(pid_t pid, int fd) {
  TRY_ASSIGN(const auto process, open_pidfd(pid));
  return borrow_descriptor(process, pid, fd);
}

}  // namespace upkeep::os
