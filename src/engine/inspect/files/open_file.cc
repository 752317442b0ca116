#include "engine/inspect/files/open_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sockios.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "engine/inspect/calls/proc_text.h"
#include "engine/inspect/files/inotify.h"
#include "engine/inspect/files/io_uring.h"
#include "engine/inspect/files/kernel_files.h"
#include "engine/inspect/files/pidfd.h"
#include "engine/inspect/files/posix_queues.h"
#include "engine/inspect/files/terminal.h"
#include "engine/inspect/sockets/socket.h"
#include "os/borrow_descriptor.h"
#include "os/child.h"
#include "os/file.h"
#include "os/kernel_memory.h"
#include "os/namespace.h"
#include "os/open_socket.h"

namespace upkeep::engine {
namespace {

// O_CLOEXEC belongs to the descriptor; O_LARGEFILE the kernel sets by itself.
constexpr std::uint32_t kNotOfTheFile = O_CLOEXEC | 0100000U;

struct Found {
  const DescriptorFacts& facts;
  OpenFile& file;
  std::vector<Obstacle>& obstacles;
  void refuse(std::string why, std::string remedy = "") {
    obstacles.push_back({facts.holder, facts.title(), std::move(why), std::move(remedy)});
  }
};

// Both ends name the same pipe: data is read through a reading end of our own, by copying (tee(2)), so that
// it stays where it is. END: either of them.
Result<void> read_pipe_data(const DescriptorFacts& facts, os::Fd end, Pipe& pipe) {
  int unread = 0;
  if (::ioctl(end.get(), FIONREAD, &unread) < 0) return ErrnoErr("FIONREAD");
  if (unread == 0) return {};
  TRY_ASSIGN(const auto reader,
             os::open_file(fmt::format("/proc/{}/fd/{}", facts.pid, facts.fd), O_RDONLY | O_NONBLOCK));
  std::array<int, 2> copy = {-1, -1};
  if (::pipe2(copy.data(), O_CLOEXEC | O_NONBLOCK) < 0) return ErrnoErr("pipe");
  const os::UniqueFd copy_reader(copy[0]), copy_writer(copy[1]);
  // Slots count, not bytes: the copy needs as many as the pipe has.
  if (::fcntl(copy_writer.get(), F_SETPIPE_SZ, pipe.capacity) < 0) return ErrnoErr("F_SETPIPE_SZ");
  const auto size = static_cast<std::size_t>(unread);
  const ssize_t copied = ::tee(reader.get(), copy_writer.get(), size, SPLICE_F_NONBLOCK);
  if (copied != unread) return ErrnoErr("only {} of {} bytes of a pipe could be copied", copied, unread);
  pipe.data.data.resize(size);
  for (std::size_t at = 0; at < size;) {
    const ssize_t n = ::read(copy_reader.get(), pipe.data.data.data() + at, size - at);
    if (n <= 0) return ErrnoErr("reading the copy of a pipe");
    at += static_cast<std::size_t>(n);
  }
  return {};
}

Result<void> read_pipe(Found found, Look tasks) {
  auto& pipe = found.file.pipe.emplace();
  if (found.file.path) {
    pipe.inode = found.file.path->inode;
  } else {
    const auto inode = std::string_view(found.facts.link).substr(6);
    (void)std::from_chars(inode.data(), inode.data() + inode.size(), pipe.inode);
  }
  if (!stand_still(tasks)) return {};
  TRY_ASSIGN(const auto end, borrow_descriptor(found.facts));
  const int capacity = ::fcntl(end.get(), F_GETPIPE_SZ);
  if (capacity < 0) return ErrnoErr("F_GETPIPE_SZ");
  pipe.capacity = static_cast<std::uint32_t>(capacity);
  TRY(read_pipe_data(found.facts, end, pipe));
  if ((found.file.flags & O_DIRECT) != 0 && !pipe.data.data.empty())
    found.refuse("unread packets of a pipe in packet mode cannot be told apart");
  return {};
}

// The network namespace that a socket belongs to; no descriptor where it is our own. OWN_COOKIE: as in
// DescriptorFacts.
Result<os::UniqueFd> network_of(os::Fd socket, std::uint64_t own_cookie) {
  if (own_cookie != 0 && os::network_cookie(socket) == own_cookie) return os::UniqueFd();
  const auto owner = [](os::Fd fd) -> Result<os::UniqueFd> {
    os::UniqueFd network(::ioctl(fd.get(), SIOCGSKNS));
    if (!network.valid()) return ErrnoErr("SIOCGSKNS");
    return network;
  };
  // Of one that we have made: what /proc says of us is not there in every mount namespace.
  TRY_ASSIGN(const auto fresh, os::open_socket(AF_UNIX, SOCK_DGRAM, 0));
  TRY_ASSIGN(const auto own_network, owner(fresh));
  TRY_ASSIGN(const auto own, os::namespace_number(own_network));
  TRY_ASSIGN(auto network, owner(socket));
  TRY_ASSIGN(const auto number, os::namespace_number(network));
  return number == own ? os::UniqueFd() : std::move(network);
}

Result<std::vector<InFlight>> read_socket_of(Found found, Look tasks, std::vector<Obstacle>& losses) {
  const auto inode = std::string_view(found.facts.link).substr(8);
  std::uint64_t number = 0;
  (void)std::from_chars(inode.data(), inode.data() + inode.size(), number);
  TRY_ASSIGN(const auto fd, borrow_descriptor(found.facts));
  SocketReading reading{fd, tasks, found.facts.own_root, found.file.socket.emplace()};
  reading.survivor = found.facts.survivor;
  TRY_ASSIGN(const auto network, network_of(fd, found.facts.own_network));
  if (network.valid()) {
    TRY_ASSIGN(reading.socket.network, os::namespace_number(network));
  } else {
    reading.own_diag = found.facts.own_diag;
  }
  TRY(os::in_namespace(network, "net", [&] { return read_socket(reading, number); }));
  for (auto& reason : reading.reasons) found.refuse(std::move(reason.why), std::move(reason.remedy));
  for (auto& loss : reading.losses)
    losses.push_back({found.facts.holder, found.facts.title(), std::move(loss.why), std::move(loss.remedy)});
  return std::move(reading.in_flight);
}

// Places in a directory are numbers that file systems on disk keep; a tmpfs gives them anew.
Result<void> look_at_listing(Found found) {
  struct statfs system = {};
  const auto link = fmt::format("/proc/{}/fd/{}", found.facts.pid, found.facts.fd);
  if (::statfs(link.c_str(), &system) < 0) return ErrnoErr("statfs {}", link);
  if (system.f_type == TMPFS_MAGIC || system.f_type == OVERLAYFS_SUPER_MAGIC)
    found.refuse("a directory of a tmpfs or overlay in the middle of being listed cannot be taken up again");
  return {};
}

void read_device(Found found, dev_t number) {
  constexpr unsigned kMemoryDevices = 1, kMessages = 11;
  if (major(number) != kMemoryDevices) {
    found.refuse("state behind this device is not rebuilt by this version");
    return;
  }
  if (minor(number) == kMessages && (found.file.flags & O_ACCMODE) != O_WRONLY)
    found.refuse("its place among the kernel's messages is not rebuilt by this version");
}

// Whether PATH leads to that file: as the process sees names, or as we do, who have opened it for the process
// before it had a mount namespace of its own (as systemd does with the standard input).
bool leads_to(const std::string& path, const struct stat& file, os::Fd own_root, bool& host) {
  auto is_it = [&](int directory, const char* name) {
    struct stat there = {};
    return ::fstatat(directory, name, &there, 0) == 0 && there.st_ino == file.st_ino &&
           there.st_dev == file.st_dev;
  };
  if (is_it(AT_FDCWD, path.c_str())) return true;
  host = path.size() > 1 && own_root.get() >= 0 && is_it(own_root.get(), path.c_str() + 1);
  return host;
}

Result<void> read_path(Found found, Look tasks, Snapshot& snapshot) {
  struct stat status = {};
  struct statfs system = {};
  const auto link = fmt::format("/proc/{}/fd/{}", found.facts.pid, found.facts.fd);
  if (found.facts.inner && ::statfs(link.c_str(), &system) == 0 && system.f_type == PROC_SUPER_MAGIC)
    found.refuse("files of /proc are not rebuilt by this version for tasks in a PID namespace of their own");
  if (::stat(link.c_str(), &status) < 0) return ErrnoErr("stat {}", link);
  constexpr unsigned kMemoryDevices = 1;
  if (S_ISCHR(status.st_mode) && major(status.st_rdev) != kMemoryDevices) {
    TRY_ASSIGN(const bool terminal, read_terminal_end(found.facts, status, found.file, found.obstacles));
    if (terminal) return {};
  }
  found.file.path =
      PathFile{found.facts.link, status.st_dev, status.st_ino, status.st_mode, status.st_rdev, ""};
  if (S_ISREG(status.st_mode) && is_posix_queue(link)) {
    found.file.kind = FileKind::mqueue;
    TRY_ASSIGN(auto reasons, read_posix_queue(found.facts, status, tasks, *found.file.path, snapshot));
    for (auto& reason : reasons) found.refuse(std::move(reason.why), std::move(reason.remedy));
    return {};
  }
  const bool at_path = leads_to(found.facts.link, status, found.facts.own_root, found.file.path->host);
  const auto kept = kept_kind(found.facts.link);
  if (!at_path && (kept == KeptKind::memfd || kept == KeptKind::unlinked)) {
    found.file.kind = FileKind::kept;
    return {};
  }
  // Under this name each network namespace has files of its own, and the path leads us to ours.
  const bool of_network = found.facts.link.starts_with("/proc/sys/net/");
  if (!at_path && of_network)
    found.refuse("it is a setting of a network namespace of its own",
                 "try again when the program has closed it");
  else if (!at_path)
    found.refuse("its file has been removed or replaced",
                 "restart the program, so that it opens the file anew");
  const bool only_path = (found.file.flags & O_PATH) != 0;
  if (S_ISFIFO(status.st_mode) && !only_path) {
    found.file.kind = FileKind::fifo;
    return read_pipe(found, tasks);
  }
  if (S_ISBLK(status.st_mode)) found.refuse("block devices are not rebuilt by this version");
  if (S_ISDIR(status.st_mode) && found.file.position != 0) TRY(look_at_listing(found));
  if (S_ISCHR(status.st_mode) && !only_path) read_device(found, status.st_rdev);
  if (!is_kernel_file(found.facts.link)) return {};
  for (auto& reason : read_kernel_file(found.facts, found.file.flags, *found.file.path))
    found.refuse(std::move(reason));
  return {};
}

// Events cannot be looked at without taking them.
Result<void> read_inotify_of(Found found, Look tasks) {
  TRY_ASSIGN(auto reasons, read_inotify(found.facts, found.file.inotify.emplace()));
  for (auto& reason : reasons) found.refuse(std::move(reason));
  if (!stand_still(tasks)) return {};
  TRY_ASSIGN(const auto fd, borrow_descriptor(found.facts));
  int unread = 0;
  if (::ioctl(fd.get(), FIONREAD, &unread) < 0) return ErrnoErr("FIONREAD");
  if (unread != 0) found.refuse("events that it has not read yet cannot be put back", "try again");
  return {};
}

// An owner that has ended is shown as 0.
Result<void> read_input_signal(Found found) {
  TRY_ASSIGN(const auto fd, borrow_descriptor(found.facts));
  f_owner_ex owner = {};
  const int signal = ::fcntl(fd.get(), F_GETSIG);
  if (signal < 0 || ::fcntl(fd.get(), F_GETOWN_EX, &owner) < 0) return ErrnoErr("F_GETOWN_EX");
  const bool on = (found.file.flags & O_ASYNC) != 0;
  if (on || owner.pid != 0 || signal != 0)
    found.file.input_signal = InputSignal{owner.type, owner.pid, signal, on};
  return {};
}

Result<void> read_ring(Found found, Look tasks) {
  auto& file = found.file;
  file.kind = FileKind::io_uring;
  TRY_ASSIGN(const auto fd, borrow_descriptor(found.facts));
  TRY_ASSIGN(auto reasons, read_io_uring(found.facts.info, fd, tasks, file.io_uring.emplace()));
  for (auto& reason : reasons) found.refuse(std::move(reason.why), std::move(reason.remedy));
  return {};
}

// What it was made with, EFD_SEMAPHORE.
Result<bool> was_made_a_semaphore(const DescriptorFacts& facts) {
  const auto& kernel = os::KernelMemory::own();
  if (!kernel) return Err("{}", kernel.error().message());
  TRY_ASSIGN(const auto fd, borrow_descriptor(facts));
  TRY_ASSIGN(const auto context, kernel->behind(fd));
  TRY_ASSIGN(const auto flags, kernel->number(context, "eventfd_ctx", "flags"));
  return (flags & EFD_SEMAPHORE) != 0;
}

Result<void> read_anonymous(Found found, Look tasks) {
  const std::string_view link = found.facts.link, info = found.facts.info;
  auto& file = found.file;
  if (link == "anon_inode:[eventfd]") {
    file.kind = FileKind::eventfd;
    const auto count = number_of(info, "eventfd-count", 16);
    if (!count) return Err("its counter cannot be read");
    auto& counter = file.eventfd.emplace(EventCounter{*count, false});
    const auto semaphore = number_of(info, "eventfd-semaphore");  // 6.5 on
    const auto is_one = semaphore ? Result<bool>(*semaphore != 0) : was_made_a_semaphore(found.facts);
    if (is_one) counter.semaphore = *is_one;
    if (!is_one)
      found.refuse("nothing tells whether it is a semaphore: " + is_one.error().message(),
                   "a kernel from 6.5 on tells it");
  } else if (link == "anon_inode:[timerfd]") {
    file.kind = FileKind::timerfd;
    TRY_ASSIGN(file.timerfd, parse_timerfd(info));
  } else if (link == "anon_inode:[signalfd]") {
    file.kind = FileKind::signalfd;
    const auto mask = number_of(info, "sigmask", 16);
    if (!mask) return Err("its signals cannot be read");
    file.signalfd = SignalFile{*mask};
  } else if (link == "anon_inode:[eventpoll]") {
    file.kind = FileKind::epoll;
    TRY_ASSIGN(auto watches, parse_epoll(info));
    file.epoll = Epoll{std::move(watches)};
  } else if (link == "anon_inode:inotify") {
    file.kind = FileKind::inotify;
    return read_inotify_of(found, tasks);
  } else if (link == "anon_inode:[pidfd]") {
    file.kind = FileKind::pidfd;
    TRY_ASSIGN(auto reasons, read_pidfd(found.facts, file.pidfd.emplace()));
    for (auto& reason : reasons) found.refuse(std::move(reason));
  } else if (link == "anon_inode:[io_uring]") {
    return read_ring(found, tasks);
  } else {
    found.refuse("this kind of object is not rebuilt by this version");
  }
  return {};
}

Result<void> read_locks(Found found) {
  TRY_ASSIGN(auto locks, parse_locks(found.facts.info));
  for (auto& lock : locks) {
    if (lock.kind == LockKind::flock || lock.kind == LockKind::ofd)
      found.file.locks.push_back(std::move(lock));
    else if (lock.kind != LockKind::posix)  // which belongs to the process: descriptors.cc
      found.refuse(fmt::format("a lock of the kind {} is not rebuilt by this version", name_of(lock.kind)));
  }
  return {};
}

}  // namespace

Result<OpenFileReading> read_open_file(const DescriptorFacts& facts, Look tasks, Snapshot& snapshot) {
  OpenFileReading reading;
  auto& file = reading.file;
  file.name = facts.link;
  const auto flags = number_of(facts.info, "flags", 8), position = number_of(facts.info, "pos");
  if (!flags || !position) return Err("its fdinfo cannot be read");
  file.flags = static_cast<std::uint32_t>(*flags) & ~kNotOfTheFile;
  file.position = static_cast<std::int64_t>(*position);
  Found found{facts, file, snapshot.obstacles};
  if (facts.link.starts_with("pipe:[")) {
    file.kind = FileKind::pipe;
    TRY(read_pipe(found, tasks));
  } else if (facts.link.starts_with("anon_inode:")) {
    TRY(read_anonymous(found, tasks));
  } else if (facts.link.starts_with("socket:[")) {
    file.kind = FileKind::socket;
    TRY_ASSIGN(reading.in_flight, read_socket_of(found, tasks, snapshot.losses));
  } else if (!facts.link.starts_with('/')) {
    found.refuse("this kind of object is not rebuilt by this version");
  } else {
    file.kind = FileKind::path;
    TRY(read_path(found, tasks, snapshot));
  }
  TRY(read_locks(found));
  if (file.kind == FileKind::socket || (file.flags & O_ASYNC) != 0) TRY(read_input_signal(found));
  return reading;
}

}  // namespace upkeep::engine
