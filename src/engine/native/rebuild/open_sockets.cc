#include "engine/native/rebuild/open_sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/native/rebuild/named_pair.h"
#include "engine/native/rebuild/peers.h"
#include "engine/native/rebuild/socket_options.h"

namespace upkeep::native {
namespace {

bool bound(const Socket& socket) { return socket.local.data.size() > sizeof(sa_family_t); }

// What is left in TIME_WAIT of this port is no reason to fail.
class ReuseAddress {
 public:
  explicit ReuseAddress(os::Fd fd) : fd_(fd) {
    socklen_t size = sizeof before_;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &before_, &size);
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  }
  ReuseAddress(const ReuseAddress&) = delete;
  ~ReuseAddress() { ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &before_, sizeof before_); }

 private:
  os::Fd fd_;
  int before_ = 0;
};

std::string file_of(const Socket& socket) {
  const auto& name = socket.local.data;
  if (socket.family != AF_UNIX || !bound(socket) || name[sizeof(sa_family_t)] == 0) return "";
  std::string path(name.begin() + sizeof(sa_family_t), name.end());
  path.resize(std::strlen(path.c_str()));
  return path;
}

Result<void> bind_to_name(os::Fd fd, const Socket& socket) {
  if (!bound(socket)) return {};
  const auto path = file_of(socket);
  struct stat status = {};
  // The file of the socket that has ended: nobody listens to it any more.
  if (!path.empty() && ::lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) return Err("{} is there and no socket", path);
    if (::unlink(path.c_str()) < 0) return ErrnoErr("removing {}", path);
  }
  const ReuseAddress reuse(fd);
  TRY(bind_name(fd, socket));
  if (!path.empty() && socket.file &&
      (::chmod(path.c_str(), socket.file->mode) < 0 ||
       ::lchown(path.c_str(), socket.file->uid, socket.file->gid) < 0))
    return ErrnoErr("{}", path);
  if (socket.listening && ::listen(fd.get(), static_cast<int>(socket.backlog)) < 0) return ErrnoErr("listen");
  return {};
}

// An unbound TCP socket has a name too: all zero.
bool is_unbound_inet(const Socket& socket) {
  const auto& name = socket.local.data;
  if (socket.family != AF_INET && socket.family != AF_INET6) return false;
  return name.size() >= 4 && name[2] == 0 && name[3] == 0 && !socket.listening;
}

Result<void> send_unread(os::Fd from, const Socket& to) {
  if (to.unread.empty()) return {};
  // Whoever sent it may have had more room, and each message is accounted with what surrounds it.
  constexpr std::size_t kAccounted = 4, kMessage = 4096, kRoom = std::size_t{1} << 20U,
                        kMost = std::size_t{1} << 30U;
  std::size_t room = kRoom;
  for (const auto& message : to.unread) room += kAccounted * message.data.size() + kMessage;
  const auto sizes = buffer_sizes(from);
  TRY(set_buffer_sizes(from, {static_cast<int>(std::min(room, kMost)), sizes.receive, sizes.locked}));
  for (const auto& message : to.unread) {
    const ssize_t sent =
        ::send(from.get(), message.data.data(), message.data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return ErrnoErr("sending {} unread bytes", message.data.size());
    if (sent != static_cast<ssize_t>(message.data.size()))
      return Err("{} of {} unread bytes could be sent", sent, message.data.size());
  }
  return set_buffer_sizes(from, sizes);
}

// To itself, from a socket without a name.
Result<void> send_to_name(const Socket& socket) {
  if (socket.unread.empty()) return {};
  const os::UniqueFd sender(::socket(socket.family, socket.type | SOCK_CLOEXEC, socket.protocol));
  if (!sender.valid()) return ErrnoErr("socket");
  if (::connect(sender.get(), reinterpret_cast<const sockaddr*>(socket.local.data.data()),
                static_cast<socklen_t>(socket.local.data.size())) < 0)
    return ErrnoErr("connect");
  return send_unread(sender, socket);
}

int recorded_reuse_address(const Socket& socket) {
  int value = 0;
  for (const auto& option : socket.options) {
    if (option.level == SOL_SOCKET && option.name == SO_REUSEADDR && option.value.data.size() == sizeof value)
      std::memcpy(&value, option.value.data.data(), sizeof value);
  }
  return value;
}

// A TCP socket whose connection has ended: nothing can be read or written. That there is no connection to
// shut down is no error here: it is shut down nevertheless.
Result<void> shut_down(os::Fd fd, const Socket& socket) {
  constexpr std::uint32_t kBoth = 3;
  if (socket.protocol != IPPROTO_TCP || socket.shutdown != kBoth) return {};
  if (::shutdown(fd.get(), SHUT_RDWR) < 0 && errno != ENOTCONN) return ErrnoErr("shutdown");
  return {};
}

Result<std::pair<os::UniqueFd, os::UniqueFd>> make_plain_pair(const Socket& socket) {
  std::array<int, 2> ends = {-1, -1};
  if (::socketpair(socket.family, socket.type | SOCK_CLOEXEC, socket.protocol, ends.data()) < 0)
    return ErrnoErr("socketpair");
  return std::pair(os::UniqueFd(ends[0]), os::UniqueFd(ends[1]));
}

}  // namespace

Result<os::UniqueFd> Sockets::connect(const Socket& socket) {
  TRY_ASSIGN(auto fd, make_connection(socket));
  os::UniqueFd second(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!second.valid()) return ErrnoErr("dup");
  connections_.add(std::move(second), recorded_reuse_address(socket));
  return fd;
}

Result<os::UniqueFd> Sockets::open(const Socket& socket) {
  if (auto made = ends_.find(socket.inode); made != ends_.end()) {
    auto fd = std::move(made->second);
    TRY(set_options(fd, socket));
    if (socket.type == SOCK_DGRAM) TRY(bind_to_name(fd, socket));
    return fd;
  }
  if (socket.connection) return connect(socket);
  if (socket.peer != 0 && !is_joined(socket)) return Err("its other end is not part of the snapshot");
  os::UniqueFd fd(::socket(socket.family, socket.type | SOCK_CLOEXEC, socket.protocol));
  if (!fd.valid()) return ErrnoErr("socket");
  TRY(set_options(fd, socket));
  if (!is_unbound_inet(socket)) TRY(bind_to_name(fd, socket));
  TRY(send_to_name(socket));
  TRY(shut_down(fd, socket));
  return fd;
}

Result<void> Sockets::make_pair(const Socket& first, const Socket& second) {
  std::pair<os::UniqueFd, os::UniqueFd> pair;
  if (first.type != SOCK_DGRAM && (bound(first) || bound(second))) {
    TRY_ASSIGN(pair, make_named_pair(first, second));
  } else {
    TRY_ASSIGN(pair, make_plain_pair(first));
  }
  auto& [one, other] = pair;
  TRY(send_unread(one, second));
  TRY(send_unread(other, first));
  // One that may not write makes the other one unable to read, and the other way around.
  auto shut = [](os::Fd fd, std::uint32_t how) {
    return how == 0 || ::shutdown(fd.get(), static_cast<int>(how) - 1) == 0;
  };
  if (!shut(one, first.shutdown) || !shut(other, second.shutdown)) return ErrnoErr("shutdown");
  ends_[first.inode] = std::move(one);
  ends_[second.inode] = std::move(other);
  return {};
}

}  // namespace upkeep::native
