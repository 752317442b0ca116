#include "engine/rebuild/files/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>

#include "engine/rebuild/calls/restorer_pidfd.h"
#include "engine/tree/inner_ids.h"

namespace upkeep::engine {

Program compile_descriptors(const Process& process, const std::vector<int>& sources, std::int32_t restorer) {
  Program program;
  const bool inherited = depth_of(process) != 0;  // what leads to the restorer
  if (process.descriptors.empty()) {
    if (inherited) program.call(SYS_close, {0});
    return program;
  }
  const int spare = process.descriptors.back().fd + 1;
  constexpr int kUsualLimit = 1024;
  if (spare + 1 >= kUsualLimit) {
    const auto wanted =
        std::max<std::uint64_t>(process.limits[RLIMIT_NOFILE].hard, static_cast<std::uint64_t>(spare) + 2);
    const rlimit limit = {wanted, wanted};
    program.call(SYS_prlimit64, {0, RLIMIT_NOFILE, program.value(limit), 0});
  }
  open_restorer(program, process, restorer);  // nothing else is open: it is descriptor 0
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
  // Nothing is closed after this: that would give back all locks of the file.
  for (const auto& held : process.locks) {
    struct flock lock = {};
    lock.l_type = held.lock.exclusive ? F_WRLCK : F_RDLCK;
    lock.l_start = static_cast<off_t>(held.lock.start);
    lock.l_len = static_cast<off_t>(held.lock.length);
    program.call(SYS_fcntl, {held.fd, F_SETLK, program.value(lock)});
  }
  return program;
}

}  // namespace upkeep::engine
