#include "upgrade/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <charconv>

#include "os/file.h"

namespace upkeep::upgrade {
namespace {

constexpr const char* kLockPath = "/run/upkeep/lock";

}  // namespace

Result<MachineLock> MachineLock::acquire() {
  TRY(os::make_directories("/run/upkeep", 0755));
  TRY_ASSIGN(auto fd, os::open_file(kLockPath, O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK) return ErrnoErr("lock {}", kLockPath);
    return Err("another upgrade is under way (process {}); follow it with `upkeep status --wait`",
               machine_lock_holder());
  }
  (void)!::ftruncate(fd.get(), 0);
  TRY(os::write_all(fd, std::to_string(::getpid())));
  return MachineLock(std::move(fd));
}

int machine_lock_holder() {
  auto fd = os::open_file(kLockPath, O_RDWR);
  if (!fd) return 0;
  if (::flock(fd->get(), LOCK_SH | LOCK_NB) == 0) return 0;
  auto text = os::read_all(*fd).value_or("");
  int pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  return pid;
}

}  // namespace upkeep::upgrade
