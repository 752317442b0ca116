// Descriptors, taken from the restorer with pidfd_getfd(2), and the entries of epoll sets, which remember the
// numbers that files had when they were added.

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>

#include "engine/native/rebuild/compile.h"

namespace upkeep::native {

Program compile_descriptors(const Process& process, const std::vector<int>& sources, std::int32_t restorer) {
  Program program;
  if (process.descriptors.empty()) return program;
  const int spare = process.descriptors.back().fd + 1;
  constexpr int kUsualLimit = 1024;
  if (spare + 1 >= kUsualLimit) {
    const auto wanted =
        std::max<std::uint64_t>(process.limits[RLIMIT_NOFILE].hard, static_cast<std::uint64_t>(spare) + 2);
    const rlimit limit = {wanted, wanted};
    program.call(SYS_prlimit64, {0, RLIMIT_NOFILE, program.value(limit), 0});
  }
  program.call(SYS_pidfd_open, {restorer, 0});  // nothing else is open: it is descriptor 0
  program.call(SYS_fcntl, {0, F_DUPFD_CLOEXEC, spare});
  program.call(SYS_close, {0});
  // The kernel gives the lowest free number. Going upwards that is never above the wanted one, and everything
  // in between is free again each time.
  int lowest = 0;
  for (const auto& descriptor : process.descriptors) {
    const int flags = descriptor.close_on_exec ? O_CLOEXEC : 0;
    program.call(SYS_pidfd_getfd, {spare, sources[descriptor.file], 0});
    if (descriptor.fd == lowest) {
      if (flags == 0) program.call(SYS_fcntl, {descriptor.fd, F_SETFD, 0});
      ++lowest;
    } else {
      program.call(SYS_dup3, {lowest, descriptor.fd, flags});
      program.call(SYS_close, {lowest});
    }
  }
  program.call(SYS_close, {spare});
  return program;
}

Program compile_watches(const Snapshot& snapshot, const Process& process) {
  Program program;
  std::vector<std::uint32_t> done;
  for (const auto& descriptor : process.descriptors) {
    const auto& file = snapshot.files[descriptor.file];
    if (!file.epoll || file.epoll->pid != process.pid) continue;
    if (std::find(done.begin(), done.end(), descriptor.file) != done.end()) continue;
    done.push_back(descriptor.file);
    for (const auto& watch : file.epoll->watches) {
      epoll_event event = {};
      event.events = watch.events;
      event.data.u64 = watch.data;
      program.call(SYS_epoll_ctl, {descriptor.fd, EPOLL_CTL_ADD, watch.fd, program.value(event)});
    }
  }
  return program;
}

}  // namespace upkeep::native
