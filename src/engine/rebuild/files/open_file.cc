#include "engine/rebuild/files/open_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <set>

#include "engine/rebuild/files/epoll.h"
#include "engine/rebuild/files/inotify.h"
#include "engine/rebuild/files/io_uring.h"
#include "engine/rebuild/files/made_anew.h"
#include "engine/rebuild/files/pidfd.h"
#include "engine/rebuild/files/terminal.h"
#include "engine/rebuild/files/timerfd.h"
#include "engine/rebuild/namespaces/network.h"
#include "engine/rebuild/sockets/outside_peers.h"
#include "engine/rebuild/sockets/peer_credentials.h"
#include "engine/rebuild/sockets/socket.h"
#include "engine/rebuild/sockets/unread_messages.h"
#include "os/file.h"
#include "os/limits.h"

namespace upkeep::engine {
namespace {

constexpr std::uint32_t kOnlyWhenCreating = O_CREAT | O_EXCL | O_TRUNC;
constexpr std::uint32_t kSettable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;  // by F_SETFL

int as_flags(std::uint32_t flags) { return static_cast<int>(flags); }

Result<void> set_flags(os::Fd fd, std::uint32_t flags) {
  const int wanted = as_flags(flags & kSettable);
  if (wanted != 0 && ::fcntl(fd.get(), F_SETFL, wanted) < 0) return ErrnoErr("F_SETFL");
  return {};
}

Result<void> set_position(os::Fd fd, const OpenFile& file) {
  if ((file.flags & O_PATH) == 0 && ::lseek(fd.get(), file.position, SEEK_SET) < 0)
    return ErrnoErr("lseek to {}", file.position);
  return {};
}

Result<os::UniqueFd> open_path(const OpenFile& file) {
  const auto& path = *file.path;
  const auto flags = (file.flags & ~kOnlyWhenCreating) | O_NOCTTY;
  TRY_ASSIGN(auto fd, os::open_file(path.path, as_flags(flags)));
  struct stat status = {};
  if (::fstat(fd.get(), &status) < 0) return ErrnoErr("fstat");
  if ((status.st_mode & S_IFMT) != (path.mode & S_IFMT) || status.st_rdev != path.device_number ||
      (status.st_ino != path.inode && !made_anew(path.device, status.st_dev)))
    return Err("it is another file than the one that was open");
  if (!path.trigger.empty()) TRY_IN("its trigger", os::write_all(fd, path.trigger));
  const bool places = S_ISREG(status.st_mode) || S_ISDIR(status.st_mode);
  if (places && (file.position != 0 || !path.trigger.empty())) TRY(set_position(fd, file));
  return fd;
}

Result<void> fill_pipe(os::Fd end, const Pipe& pipe) {
  if (::fcntl(end.get(), F_SETPIPE_SZ, pipe.capacity) < 0) return ErrnoErr("F_SETPIPE_SZ {}", pipe.capacity);
  return os::write_all(end, std::as_bytes(std::span(pipe.data.data)));
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
    TRY(fill_pipe(pair.write, pipe));
    return &pairs_.emplace(pipe.inode, std::move(pair)).first->second;
  }
  std::map<std::uint64_t, Pair> pairs_;
};

// Named pipes. While we hold both ends of one, opening it waits for nobody, and it keeps its data.
class Fifos {
 public:
  Result<os::UniqueFd> open(const OpenFile& file) {
    TRY(hold(file));
    return open_path(file);
  }

 private:
  Result<void> hold(const OpenFile& file) {
    if (held_.contains(file.path->path)) return {};
    auto whole = file;
    whole.flags = O_RDWR | O_NONBLOCK;
    TRY_ASSIGN(auto fd, open_path(whole));
    int unread = 0;
    if (::ioctl(fd.get(), FIONREAD, &unread) < 0) return ErrnoErr("FIONREAD");
    if (unread != 0) return Err("somebody has written into it meanwhile");
    TRY(fill_pipe(fd, *file.pipe));
    held_.emplace(file.path->path, std::move(fd));
    return {};
  }
  std::map<std::string, os::UniqueFd> held_;
};

Result<void> take_locks(os::Fd fd, const OpenFile& file) {
  for (const auto& lock : file.locks) {
    if (lock.kind == LockKind::flock) {
      if (::flock(fd.get(), (lock.exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0) return ErrnoErr("flock");
      continue;
    }
    struct flock wanted = {};
    wanted.l_type = lock.exclusive ? F_WRLCK : F_RDLCK;
    wanted.l_start = static_cast<off_t>(lock.start);
    wanted.l_len = static_cast<off_t>(lock.length);
    if (::fcntl(fd.get(), F_OFD_SETLK, &wanted) < 0) return ErrnoErr("F_OFD_SETLK");
  }
  return {};
}

class Opener {
 public:
  Opener(const KeptFiles& kept, const MadePosixQueues& queues, const std::set<std::uint64_t>& not_yet,
         HeldConnections& connections)
      : kept_(kept), queues_(queues), sockets_(connections, not_yet) {}
  Sockets& sockets() { return sockets_; }
  Terminals& terminals() { return terminals_; }

  Result<os::UniqueFd> open(const OpenFile& file) {
    if (file.kind == FileKind::path) return open_path(file);
    if (file.kind == FileKind::fifo) return fifos_.open(file);
    if (file.kind == FileKind::pipe) return pipes_.open(file);
    if (file.kind == FileKind::mqueue) return queues_.open(file);
    if (file.kind == FileKind::kept) {
      TRY_ASSIGN(auto fd, kept_.open(*file.path, file.flags & ~kOnlyWhenCreating));
      TRY(set_position(fd, file));
      return fd;
    }
    TRY_ASSIGN(auto fd, make(file));
    TRY(set_flags(fd, file.flags));
    return fd;
  }

 private:
  Result<os::UniqueFd> make(const OpenFile& file) {
    if (file.kind == FileKind::socket) return sockets_.open(*file.socket);
    if (file.kind == FileKind::eventfd) return make_eventfd(*file.eventfd);
    if (file.kind == FileKind::timerfd) return make_timerfd(*file.timerfd);
    if (file.kind == FileKind::signalfd) return make_signalfd(*file.signalfd);
    if (file.kind == FileKind::epoll) return make_epoll();
    if (file.kind == FileKind::inotify) return make_inotify(*file.inotify);
    if (file.kind == FileKind::io_uring) return make_io_uring(*file.io_uring);
    if (file.kind == FileKind::terminal) return terminals_.open(file);
    return Err("this version cannot make a '{}'", name_of(file.kind));
  }

  const KeptFiles& kept_;
  const MadePosixQueues& queues_;
  Pipes pipes_;
  Fifos fifos_;
  Sockets sockets_;
  Terminals terminals_;
};

Result<void> make_pairs(const Snapshot& snapshot, const AllNamespaces& namespaces, Sockets& sockets) {
  std::map<std::uint64_t, const Socket*> waiting;
  std::map<std::uint64_t, std::vector<WantedPair>> by_network;
  for (const auto& file : snapshot.files) {
    if (!file.socket || file.socket->peer == 0) continue;
    const auto& socket = *file.socket;
    if (is_joined_by_name(socket)) continue;
    if (const auto other = waiting.find(socket.peer);
        other != waiting.end() && other->second->peer == socket.inode)
      by_network[socket.network].push_back({other->second, &socket});
    else
      waiting[socket.inode] = &socket;
  }
  for (const auto& of_one : by_network) {
    const auto& pairs = of_one.second;
    TRY(os::in_namespace(network_of(*pairs.front().first, snapshot, namespaces), "net",
                         [&] { return sockets.make_pairs(pairs); }));
  }
  return {};
}

// Names are looked up in MOUNTS, where a process lives that has the file open.
template <typename Open>
Result<os::UniqueFd> open_as_holder(const OpenFile& file, os::Fd mounts, const Open& open) {
  if (file.path && file.path->host) return open();
  auto fd = os::in_namespace(mounts, "mnt", open);
  if (fd || mounts.get() < 0 || file.kind != FileKind::path) return fd;
  return open();  // opened before the process went there
}

// As the process sees names; or as we do, where somebody else has made the connection (systemd, for a service
// whose root is another directory).
Result<bool> join_seen_in(os::Fd mounts, os::Fd fd, const Socket& socket) {
  TRY_ASSIGN(const bool joined, os::in_namespace(mounts, "mnt", [&] { return join(fd, socket); }));
  return joined || mounts.get() < 0 ? joined : join(fd, socket);
}

// Whose connection it is: of those who have it open, the first.
std::optional<PeerCredentials> holder_of(const Snapshot& snapshot, std::uint32_t file) {
  for (const auto& process : snapshot.processes) {
    for (const auto& descriptor : process.descriptors) {
      if (descriptor.file != file) continue;
      const auto& its = process.threads.front().credentials;
      return PeerCredentials{process.pid, its.euid, its.egid, its.groups};
    }
  }
  return std::nullopt;
}

// Those who wait to be accepted, in their order.
Result<void> join_listeners(const Snapshot& snapshot, const std::vector<os::Fd>& mounts,
                            const std::vector<os::UniqueFd>& files) {
  std::map<std::uint64_t, std::uint32_t> by_inode;
  for (std::uint32_t i = 0; i < snapshot.files.size(); ++i) {
    if (const auto& socket = snapshot.files[i].socket; socket && socket->connecting)
      by_inode[socket->inode] = i;
  }
  for (const auto& listener : snapshot.files) {
    if (!listener.socket) continue;
    for (const auto client : listener.socket->waiting) {
      const auto found = by_inode.find(client);
      if (found == by_inode.end())
        return Err("{}: who waits for it is not part of the snapshot", listener.name);
      const auto i = found->second;
      TRY_IN(snapshot.files[i].name, make_as(holder_of(snapshot, i), [&]() -> Result<std::vector<int>> {
               TRY_ASSIGN(const bool joined, join_seen_in(mounts[i], files[i], *snapshot.files[i].socket));
               if (!joined) return Err("nobody listens to {}", unix_name(snapshot.files[i].socket->remote));
               return std::vector<int>();
             }));
    }
  }
  return {};
}

// A receiver of datagrams outside that is not there any more is no reason to fail: programs are prepared for
// that, since it is what they see when it is started anew.
Result<void> join_all(const Snapshot& snapshot, const std::vector<os::Fd>& mounts,
                      const std::vector<os::UniqueFd>& files) {
  const auto inside = snapshot.socket_inodes();
  for (std::size_t i = 0; i < snapshot.files.size(); ++i) {
    const auto& file = snapshot.files[i];
    if (!file.socket || !is_joined(*file.socket) || file.socket->connecting) continue;
    auto joined = join_seen_in(mounts[i], files[i], *file.socket);
    if (!joined) return tl::unexpected(std::move(joined).error().in(file.name));
    if (!*joined && (file.socket->journal || inside.contains(file.socket->peer)))
      return Err("{}: nobody listens to {}", file.name, unix_name(file.socket->remote));
  }
  return {};
}

// Namespaces with connections in them are closed until those take part again.
Result<void> hold_networks(const Snapshot& snapshot, const AllNamespaces& namespaces,
                           HeldConnections& connections) {
  std::set<std::uint64_t> held = {0};
  for (const auto& file : snapshot.files) {
    if (!file.socket || (!file.socket->connection && !file.socket->connecting)) continue;
    if (file.socket->family == AF_UNIX || !held.insert(file.socket->network).second) continue;
    TRY_ASSIGN(auto hold, os::in_namespace(network_of(*file.socket, snapshot, namespaces), "net",
                                           net::NamespaceHold::begin));
    connections.keep_closed(std::move(hold));
  }
  return {};
}

// pidfds and files of /proc/PID cannot be opened before there is a task.
bool is_late(const OpenFile& file) {
  constexpr std::string_view kProc = "/proc/";
  if (file.kind == FileKind::pidfd) return true;
  return file.kind == FileKind::path && file.path->path.starts_with(kProc) &&
         file.path->path.size() > kProc.size() && file.path->path[kProc.size()] >= '0' &&
         file.path->path[kProc.size()] <= '9';
}

}  // namespace

Result<OpenedFiles> open_files(const Snapshot& snapshot, const AllNamespaces& namespaces,
                               const KeptFiles& kept, const MadePosixQueues& queues,
                               const std::set<std::uint64_t>& not_yet, HeldConnections& connections) {
  os::allow_descriptors(snapshot.files.size() +
                        snapshot.processes.size());  // new tasks get limits of their own
  std::vector<os::UniqueFd> result;
  const auto mounts = mounts_of_files(snapshot, namespaces);
  TRY(hold_networks(snapshot, namespaces, connections));
  Opener opener(kept, queues, not_yet, connections);
  TRY(make_pairs(snapshot, namespaces, opener.sockets()));
  TRY(opener.terminals().make(snapshot));
  for (std::size_t i = 0; i < snapshot.files.size(); ++i) {
    const auto& file = snapshot.files[i];
    if (is_late(file)) {
      result.emplace_back();
      continue;
    }
    const auto network = file.socket ? network_of(*file.socket, snapshot, namespaces) : os::Fd(-1);
    auto fd = open_as_holder(
        file, mounts[i], [&] { return os::in_namespace(network, "net", [&] { return opener.open(file); }); });
    if (!fd) return tl::unexpected(std::move(fd).error().in(file.name));
    TRY_IN(file.name, take_locks(*fd, file));
    result.push_back(std::move(*fd));
  }
  TRY(opener.terminals().finish());
  TRY(join_listeners(snapshot, mounts, result));
  return OpenedFiles{std::move(result), std::move(opener.sockets().gone_peers())};
}

Result<void> set_input_signals(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files) {
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& file = snapshot.files[i];
    if (!file.input_signal) continue;
    const auto& wanted = *file.input_signal;
    const f_owner_ex owner = {static_cast<__pid_type>(wanted.type), wanted.owner};
    const int fd = files[i].get();
    if (wanted.owner != 0 && ::fcntl(fd, F_SETOWN_EX, &owner) < 0)
      return ErrnoErr("{}: F_SETOWN_EX {}", file.name, wanted.owner);
    if (::fcntl(fd, F_SETSIG, wanted.signal) < 0) return ErrnoErr("{}: F_SETSIG", file.name);
    if (wanted.on && ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_ASYNC) < 0)
      return ErrnoErr("{}: O_ASYNC", file.name);
  }
  return {};
}

Result<void> complete_files(const Snapshot& snapshot, const AllNamespaces& namespaces, OpenedFiles& opened) {
  auto& files = opened.files;
  const auto mounts = mounts_of_files(snapshot, namespaces);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& file = snapshot.files[i];
    if (!is_late(file)) continue;
    auto fd = open_as_holder(file, mounts[i], [&] {
      return file.kind == FileKind::pidfd ? make_pidfd(file, snapshot) : open_path(file);
    });
    if (!fd) return tl::unexpected(std::move(fd).error().in(file.name));
    TRY_IN(file.name, take_locks(*fd, file));
    files[i] = std::move(*fd);
  }
  TRY(put_back_unread(snapshot, namespaces, files, std::move(opened.gone_peers)));
  return join_all(snapshot, mounts, files);
}

}  // namespace upkeep::engine
