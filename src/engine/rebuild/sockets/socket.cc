#include "engine/rebuild/sockets/socket.h"

#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/rebuild/sockets/memberships.h"
#include "engine/rebuild/sockets/netlink_socket.h"
#include "engine/rebuild/sockets/outside_peers.h"
#include "engine/rebuild/sockets/packet_socket.h"
#include "engine/rebuild/sockets/peer_credentials.h"
#include "engine/rebuild/sockets/socket_options.h"
#include "os/open_socket.h"

namespace upkeep::engine {
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
  if (!socket.listening) return {};
  return call_as(socket.peer_credentials, "listen",
                 [&] { return ::listen(fd.get(), static_cast<int>(socket.backlog)); });
}

// An unbound TCP socket has a name too: all zero.
bool is_unbound_inet(const Socket& socket) {
  const auto& name = socket.local.data;
  if (socket.family != AF_INET && socket.family != AF_INET6) return false;
  return name.size() >= 4 && name[2] == 0 && name[3] == 0 && !socket.listening;
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

bool is_named(const WantedPair& pair) {
  return pair.first->type != SOCK_DGRAM && (bound(*pair.first) || bound(*pair.second));
}

bool have_one_maker(const WantedPair& one, const WantedPair& other) {
  const auto &a = *one.first, &b = *other.first;
  return a.family == b.family && a.type == b.type && a.protocol == b.protocol &&
         a.peer_credentials == b.peer_credentials;
}

// Those of one maker, COUNT of them that are like SOCKET.
Result<std::vector<SocketPair>> make_plain_pairs(const Socket& socket, std::size_t count) {
  TRY_ASSIGN(
      auto ends, make_as(socket.peer_credentials, [&]() -> Result<std::vector<int>> {
        std::vector<int> made(2 * count, -1);
        for (std::size_t i = 0; i < count; ++i) {
          if (::socketpair(socket.family, socket.type | SOCK_CLOEXEC, socket.protocol, &made[2 * i]) < 0)
            return ErrnoErr("socketpair");
        }
        return made;
      }));
  std::vector<SocketPair> pairs;
  for (std::size_t i = 0; i < count; ++i)
    pairs.emplace_back(std::move(ends.at(2 * i)), std::move(ends.at(2 * i + 1)));
  return pairs;
}

Result<SocketPair> make_ends(const WantedPair& wanted) {
  TRY_ASSIGN(auto made,
             is_named(wanted) ? make_named_pairs({&wanted, 1}) : make_plain_pairs(*wanted.first, 1));
  return std::move(made.front());
}

// Its number may be another one here.
Result<Socket> with_local_numbers(const Socket& socket) {
  auto here = socket;
  if (socket.interface.empty()) return here;
  const auto number = ::if_nametoindex(socket.interface.c_str());
  if (number == 0) return ErrnoErr("interface {}", socket.interface);
  for (auto* name : {&here.local, &here.remote}) {
    auto& bytes = name->data;
    const auto put = [&](std::size_t at, std::size_t size) {
      if (bytes.size() >= size) std::memcpy(bytes.data() + at, &number, sizeof number);
    };
    if (socket.family == AF_PACKET) put(offsetof(sockaddr_ll, sll_ifindex), offsetof(sockaddr_ll, sll_addr));
    sockaddr_in6 address = {};
    if (socket.family != AF_INET6 || bytes.size() < sizeof address) continue;
    std::memcpy(&address, bytes.data(), sizeof address);
    if (address.sin6_scope_id != 0) put(offsetof(sockaddr_in6, sin6_scope_id), sizeof address);
  }
  return here;
}

Result<void> bind_datagram_socket(os::Fd fd, const Socket& socket) {
  // A raw socket has a name without a port.
  const bool unbound = socket.type != SOCK_RAW && is_unbound_inet(socket);
  if (!unbound) TRY(bind_to_name(fd, socket));
  return connect_to_remote(fd, socket);
}

Result<void> bind(os::Fd fd, const Socket& socket) {
  TRY_ASSIGN(const auto here, with_local_numbers(socket));
  if (here.family == AF_PACKET) return bind_packet_socket(fd, here);
  if (here.family == AF_NETLINK) return bind_netlink_socket(fd, here);
  if ((here.family == AF_INET || here.family == AF_INET6) && here.type != SOCK_STREAM)
    return bind_datagram_socket(fd, here);
  return is_unbound_inet(here) ? Result<void>() : bind_to_name(fd, here);
}

}  // namespace

Result<os::UniqueFd> Sockets::connect(const Socket& socket) {
  TRY_ASSIGN(auto fd, make_connection(socket));
  os::UniqueFd second(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!second.valid()) return ErrnoErr("dup");
  connections_.add(std::move(second), recorded_reuse_address(socket));
  return fd;
}

// The other end goes when what it had sent is there.
Result<os::UniqueFd> Sockets::open_left_alone(const Socket& socket) {
  Socket other;
  other.family = socket.family, other.type = socket.type, other.protocol = socket.protocol;
  other.local = socket.remote, other.remote = socket.local;
  TRY_ASSIGN(auto ends, make_ends({&socket, &other}));
  TRY(set_options(ends.first, socket));
  if (socket.type == SOCK_DGRAM) TRY(bind_to_name(ends.first, socket));
  gone_[socket.inode] = std::move(ends.second);
  return std::move(ends.first);
}

Result<os::UniqueFd> Sockets::open(const Socket& socket) {
  if (auto made = ends_.find(socket.inode); made != ends_.end()) {
    auto fd = std::move(made->second);
    TRY(set_options(fd, socket));
    if (socket.type == SOCK_DGRAM) TRY(bind_to_name(fd, socket));
    return fd;
  }
  if (socket.connection) return connect(socket);
  if (socket.peer_gone) return open_left_alone(socket);
  if (socket.peer != 0 && !is_joined(socket)) return Err("its other end is not part of the snapshot");
  TRY_ASSIGN(auto fd, os::open_socket(socket.family, socket.type, socket.protocol));
  TRY(set_options(fd, socket));
  TRY(join_groups(fd, socket));
  auto bound_first = socket;
  bound_first.listening = socket.listening && !not_yet_.contains(socket.inode);
  TRY(bind(fd, bound_first));
  if (socket.connecting && socket.protocol == IPPROTO_TCP) TRY(connections_.add_connecting(fd, socket));
  TRY(shut_down(fd, socket));
  return fd;
}

Result<void> Sockets::make_pairs(std::span<const WantedPair> pairs) {
  std::vector<WantedPair> named;
  std::vector<std::vector<WantedPair>> plain;  // by their makers
  for (const auto& pair : pairs) {
    if (is_named(pair)) {
      named.push_back(pair);
      continue;
    }
    auto group =
        std::ranges::find_if(plain, [&](const auto& one) { return have_one_maker(one.front(), pair); });
    if (group == plain.end()) group = plain.emplace(plain.end());
    group->push_back(pair);
  }
  auto keep = [&](std::span<const WantedPair> wanted, std::vector<SocketPair> made) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      ends_[wanted[i].first->inode] = std::move(made[i].first);
      ends_[wanted[i].second->inode] = std::move(made[i].second);
    }
  };
  TRY_ASSIGN(auto made, make_named_pairs(named));
  keep(named, std::move(made));
  for (const auto& group : plain) {
    TRY_ASSIGN(auto some, make_plain_pairs(*group.front().first, group.size()));
    keep(group, std::move(some));
  }
  return {};
}

}  // namespace upkeep::engine
