#include "operation/lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

#include "os/file.h"

namespace upkeep::operation {
namespace {

std::string lock_path(const std::string& run_directory) { return run_directory + "/lock"; }

// A lock of the open file description (fcntl_locking(2), Linux 3.15): unlike flock(2)'s it can be asked for
// without being taken, so that who only looks is never in the way of who wants it.
struct flock whole_file() {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

Result<MachineLock> MachineLock::acquire(const std::string& run_directory) {
  const std::string path = lock_path(run_directory);
  TRY(os::make_directories(run_directory, 0755));
  TRY_ASSIGN(auto fd, os::open_file(path, O_RDWR | O_CREAT, 0600));
  struct flock lock = whole_file();
  if (::fcntl(fd.get(), F_OFD_SETLK, &lock) < 0) {
    if (errno != EAGAIN && errno != EACCES) return ErrnoErr("lock {}", path);
    return Err("another upgrade is under way (process {}); follow it with `upkeep status --wait`",
               machine_lock_holder(run_directory));
  }
  (void)!::ftruncate(fd.get(), 0);
  TRY(os::write_all(fd, std::to_string(::getpid())));
  return MachineLock(std::move(fd));
}

int machine_lock_holder(const std::string& run_directory) {
  auto fd = os::open_file(lock_path(run_directory), O_RDWR);
  if (!fd) return 0;
  struct flock lock = whole_file();
  if (::fcntl(fd->get(), F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK) return 0;
  auto text = os::read_all(*fd).value_or("");
  int pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  return pid;
}

}  // namespace upkeep::operation
