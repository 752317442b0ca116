#include "engine/rebuild/files/inotify.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "engine/rebuild/files/made_anew.h"
#include "os/file.h"

namespace upkeep::engine {
namespace {

// Removing a watch leaves an event (IN_IGNORED), and making one may.
Result<void> drop_events(os::Fd inotify) {
  int unread = 0;
  if (::ioctl(inotify.get(), FIONREAD, &unread) < 0) return ErrnoErr("FIONREAD");
  std::array<char, 65536> events;
  while (unread > 0) {
    const auto size = ::read(inotify.get(), events.data(), events.size());
    if (size <= 0) return ErrnoErr("reading events");
    unread -= static_cast<int>(size);
  }
  return {};
}

Result<void> add_watch(os::Fd inotify, const InotifyWatch& watch) {
  struct stat status = {};
  if (::lstat(watch.path.c_str(), &status) < 0) return ErrnoErr("{}", watch.path);
  if (status.st_ino != watch.inode && !made_anew(watch.device, status.st_dev))
    return Err("{}: it is another file than the one that was watched", watch.path);
  const int wd = ::inotify_add_watch(inotify.get(), watch.path.c_str(), watch.mask | IN_DONT_FOLLOW);
  if (wd < 0) return ErrnoErr("watching {}", watch.path);
  if (wd != watch.wd)
    return Err("{}: the kernel gave the watch the number {} instead of {}", watch.path, wd, watch.wd);
  return {};
}

}  // namespace

// The kernel gives numbers in ascending order and none again: watches on something else take those that are
// not wanted.
Result<os::UniqueFd> make_inotify(const Inotify& inotify) {
  os::UniqueFd fd(::inotify_init1(IN_CLOEXEC));
  if (!fd.valid()) return ErrnoErr("inotify_init");
  const os::UniqueFd other(::memfd_create("upkeep", MFD_CLOEXEC));
  if (!other.valid()) return ErrnoErr("memfd_create");
  constexpr int kOften = 4096;  // the queue holds 16384 events
  std::int32_t next = 1;
  for (const auto& watch : inotify.watches) {
    for (; next < watch.wd; ++next) {
      const int wd = ::inotify_add_watch(fd.get(), os::own_descriptor(other).c_str(), IN_DELETE_SELF);
      if (wd < 0 || ::inotify_rm_watch(fd.get(), wd) < 0)
        return ErrnoErr("taking the number {} of a watch", next);
      if (next % kOften == 0) TRY(drop_events(fd));
    }
    TRY(add_watch(fd, watch));
    ++next;
  }
  TRY(drop_events(fd));
  return fd;
}

}  // namespace upkeep::engine
