#include "engine/native/rebuild/open_files.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <map>
#include <set>

#include "engine/native/rebuild/open_sockets.h"
#include "engine/native/rebuild/peers.h"
#include "os/file.h"
#include "os/limits.h"

namespace upkeep::native {
namespace {

constexpr std::uint32_t kOnlyWhenCreating = O_CREAT | O_EXCL | O_TRUNC;
constexpr std::uint32_t kSettable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;  // by F_SETFL

int as_flags(std::uint32_t flags) { return static_cast<int>(flags); }

Result<void> set_flags(os::Fd fd, std::uint32_t flags) {
  const int wanted = as_flags(flags & kSettable);
  if (wanted != 0 && ::fcntl(fd.get(), F_SETFL, wanted) < 0) return ErrnoErr("F_SETFL");
  return {};
}

Result<os::UniqueFd> checked(int fd, const char* what) {
  if (fd < 0) return ErrnoErr("{}", what);
  return os::UniqueFd(fd);
}

Result<os::UniqueFd> open_path(const OpenFile& file) {
  const auto& path = *file.path;
  const auto flags = (file.flags & ~kOnlyWhenCreating) | O_NOCTTY;
  TRY_ASSIGN(auto fd, os::open_file(path.path, as_flags(flags)));
  struct stat status = {};
  if (::fstat(fd.get(), &status) < 0) return ErrnoErr("fstat");
  if ((status.st_mode & S_IFMT) != (path.mode & S_IFMT) || status.st_rdev != path.device_number ||
      status.st_ino != path.inode)
    return Err("it is another file than the one that was open");
  if ((flags & O_PATH) == 0 && S_ISREG(status.st_mode) && ::lseek(fd.get(), file.position, SEEK_SET) < 0)
    return ErrnoErr("lseek");
  return fd;
}

// All descriptions of one pipe are opened from the same pair.
class Pipes {
 public:
  Result<os::UniqueFd> open(const OpenFile& file) {
    TRY_ASSIGN(const auto* pair, pair_of(*file.pipe));
    const bool writes = (file.flags & O_ACCMODE) == O_WRONLY;
    const auto end = fmt::format("/proc/self/fd/{}", (writes ? pair->write : pair->read).get());
    TRY_ASSIGN(auto fd, os::open_file(end, as_flags(file.flags & (O_ACCMODE | O_NONBLOCK))));
    TRY(set_flags(fd, file.flags));
    return fd;
  }

 private:
  struct Pair {
    os::UniqueFd read, write;
  };
  Result<const Pair*> pair_of(const Pipe& pipe) {
    if (const auto found = pairs_.find(pipe.inode); found != pairs_.end()) return &found->second;
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return ErrnoErr("pipe");
    Pair pair{os::UniqueFd(ends[0]), os::UniqueFd(ends[1])};
    if (::fcntl(ends[1], F_SETPIPE_SZ, pipe.capacity) < 0) return ErrnoErr("F_SETPIPE_SZ {}", pipe.capacity);
    TRY(os::write_all(pair.write, std::as_bytes(std::span(pipe.data.data))));
    return &pairs_.emplace(pipe.inode, std::move(pair)).first->second;
  }
  std::map<std::uint64_t, Pair> pairs_;
};

timespec from_nanoseconds(std::uint64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

Result<os::UniqueFd> make_timer(const TimerFile& timer) {
  TRY_ASSIGN(auto fd, checked(::timerfd_create(timer.clock, TFD_CLOEXEC), "timerfd_create"));
  itimerspec time = {from_nanoseconds(timer.interval), from_nanoseconds(timer.value)};
  const bool absolute = (timer.settime_flags & TFD_TIMER_ABSTIME) != 0;
  if (absolute && timer.value != 0) {
    timespec now = {};
    ::clock_gettime(timer.clock, &now);
    const auto then =
        static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
    time.it_value = from_nanoseconds(then + timer.value);
  }
  if (::timerfd_settime(fd.get(), absolute ? TFD_TIMER_ABSTIME : 0, &time, nullptr) < 0)
    return ErrnoErr("timerfd_settime");
  const std::uint64_t ticks = timer.expirations;
  constexpr unsigned long kSetTicks = 0x40085400;  // TFD_IOC_SET_TICKS
  if (ticks != 0 && ::ioctl(fd.get(), kSetTicks, &ticks) < 0) return ErrnoErr("TFD_IOC_SET_TICKS");
  return fd;
}

Result<os::UniqueFd> open_one(const OpenFile& file, Pipes& pipes, Sockets& sockets) {
  if (file.kind == "path") return open_path(file);
  if (file.kind == "pipe") return pipes.open(file);
  os::UniqueFd fd;
  if (file.kind == "socket") {
    TRY_ASSIGN(fd, sockets.open(*file.socket));
    TRY(set_flags(fd, file.flags));
    return fd;
  }
  if (file.kind == "eventfd") {
    // What is larger than an int is added afterwards.
    TRY_ASSIGN(fd,
               checked(::eventfd(0, EFD_CLOEXEC | (file.eventfd->semaphore ? EFD_SEMAPHORE : 0)), "eventfd"));
    if (file.eventfd->count != 0) TRY(os::write_all(fd, std::as_bytes(std::span(&file.eventfd->count, 1))));
  } else if (file.kind == "timerfd") {
    TRY_ASSIGN(fd, make_timer(*file.timerfd));
  } else if (file.kind == "signalfd") {
    const auto mask = file.signalfd->mask;
    TRY_ASSIGN(fd, checked(static_cast<int>(::syscall(SYS_signalfd4, -1, &mask, sizeof mask, O_CLOEXEC)),
                           "signalfd"));
  } else if (file.kind == "epoll") {
    TRY_ASSIGN(fd, checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create"));
  } else {
    return Err("this version cannot make a '{}'", file.kind);
  }
  TRY(set_flags(fd, file.flags));
  return fd;
}

Result<void> make_pairs(const Snapshot& snapshot, Sockets& sockets) {
  std::map<std::uint64_t, const Socket*> waiting;
  for (const auto& file : snapshot.files) {
    if (!file.socket || file.socket->peer == 0) continue;
    const auto& socket = *file.socket;
    if (is_joined(socket) && !unix_name(socket.local).empty()) continue;
    if (const auto other = waiting.find(socket.peer);
        other != waiting.end() && other->second->peer == socket.inode)
      TRY_IN(file.name, sockets.make_pair(*other->second, socket));
    else
      waiting[socket.inode] = &socket;
  }
  return {};
}

// As the process sees names; or as we do, where somebody else has made the connection (systemd, for a service
// whose root is another folder).
Result<bool> join_seen_as(const Process* process, const AllNamespaces& namespaces, os::Fd fd,
                          const Socket& socket) {
  TRY_ASSIGN(auto inside, see_as(process, namespaces));
  TRY_ASSIGN(const bool joined, join(fd, socket));
  if (joined || !inside) return joined;
  inside.reset();
  return join(fd, socket);
}

// A receiver of datagrams outside that is not there any more is no reason to fail: programs are prepared for
// that, since it is what they see when it is started anew.
Result<void> join_all(const Snapshot& snapshot, const AllNamespaces& namespaces,
                      const std::vector<os::UniqueFd>& files) {
  std::set<std::uint64_t> inside;
  for (const auto& file : snapshot.files) {
    if (file.socket) inside.insert(file.socket->inode);
  }
  for (std::size_t i = 0; i < snapshot.files.size(); ++i) {
    const auto& file = snapshot.files[i];
    if (!file.socket || !is_joined(*file.socket)) continue;
    const auto* holder = namespaces.empty() ? nullptr : holder_of(snapshot, i);
    auto joined = join_seen_as(holder, namespaces, files[i], *file.socket);
    if (!joined) return tl::unexpected(std::move(joined).error().in(file.name));
    if (!*joined && (file.socket->journal || inside.contains(file.socket->peer)))
      return Err("{}: nobody listens to {}", file.name, unix_name(file.socket->remote));
  }
  return {};
}

}  // namespace

Result<std::vector<os::UniqueFd>> open_files(const Snapshot& snapshot, const AllNamespaces& namespaces,
                                             HeldConnections& connections) {
  os::allow_many_descriptors();  // new tasks get limits of their own
  std::vector<os::UniqueFd> result;
  Pipes pipes;
  Sockets sockets(connections);
  TRY(make_pairs(snapshot, sockets));
  for (std::size_t i = 0; i < snapshot.files.size(); ++i) {
    const auto& file = snapshot.files[i];
    // Looked for only where there is one to be found: it takes a look at all descriptors.
    const auto* holder = namespaces.empty() ? nullptr : holder_of(snapshot, i);
    TRY_ASSIGN(auto inside, see_as(holder, namespaces));
    auto fd = open_one(file, pipes, sockets);
    if (!fd && inside && file.kind == "path") {  // opened before the process went there
      inside.reset();
      fd = open_one(file, pipes, sockets);
    }
    if (!fd) return tl::unexpected(std::move(fd).error().in(file.name));
    result.push_back(std::move(*fd));
  }
  TRY(join_all(snapshot, namespaces, result));
  return result;
}

}  // namespace upkeep::native
