#include "engine/rebuild/files/pidfd.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "os/child.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

bool is_in(const Snapshot& snapshot, pid_t id) {
  return std::any_of(snapshot.processes.begin(), snapshot.processes.end(), [id](const auto& process) {
    return process.pid == id || std::any_of(process.threads.begin(), process.threads.end(),
                                            [id](const auto& thread) { return thread.tid == id; });
  });
}

Result<os::UniqueFd> pidfd_open(pid_t pid, std::uint32_t flags) {
  os::UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, flags)));
  if (!fd.valid()) return ErrnoErr("pidfd_open {}", pid);
  return fd;
}

Result<os::UniqueFd> pidfd_of_nobody(std::uint32_t flags) {
  TRY_ASSIGN(const auto child, os::fork_child([] { return 0; }));
  auto fd = pidfd_open(child.pid, flags);
  TRY(os::wait_child(child, std::chrono::seconds(10)));
  return fd;
}

}  // namespace

Result<os::UniqueFd> make_pidfd(const OpenFile& file, const Snapshot& snapshot) {
  const auto flags = file.flags & (O_NONBLOCK | O_EXCL);  // O_EXCL: PIDFD_THREAD, 6.9
  const auto& wanted = *file.pidfd;
  if (wanted.pid == 0) return pidfd_of_nobody(flags);
  if (wanted.pid == 1 || is_in(snapshot, wanted.pid)) return pidfd_open(wanted.pid, flags);
  const auto stat = os::read_stat(wanted.pid);
  if (!stat || stat->start_time != wanted.start_time || snapshot.boot != os::boot_id())
    return pidfd_of_nobody(flags);
  return pidfd_open(wanted.pid, flags);
}

}  // namespace upkeep::engine
