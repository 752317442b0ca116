#include "engine/criu/socket_facts.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "os/child.h"
#include "os/fd.h"
#include "os/netlink.h"
#include "os/procfs.h"
#include "os/tcp_repair.h"

namespace upkeep::engine::criu {
namespace {

Result<os::UniqueFd> take(pid_t pid, int descriptor) {
  TRY_ASSIGN(auto task, os::open_pidfd(pid));
  os::UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, task.get(), descriptor, 0)));
  if (!fd.valid()) return ErrnoErr("descriptor {} of {}", descriptor, pid);
  return fd;
}

int option(const os::UniqueFd& fd, int level, int name, int fallback = 0) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd.get(), level, name, &value, &size) == 0 ? value : fallback;
}

std::string text_option(const os::UniqueFd& fd, int level, int name) {
  std::array<char, 64> value = {};
  socklen_t size = value.size() - 1;
  return ::getsockopt(fd.get(), level, name, value.data(), &size) == 0 ? value.data() : "";
}

using NameOf = int (*)(int, sockaddr*, socklen_t*);
sockaddr_storage address(const os::UniqueFd& fd, NameOf name_of) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  if (name_of(fd.get(), reinterpret_cast<sockaddr*>(&storage), &size) < 0) storage.ss_family = AF_UNSPEC;
  return storage;
}

std::string show(const sockaddr_storage& storage) {
  char host[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(storage);
    ::inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
    return fmt::format("{}:{}", host, ntohs(in.sin_port));
  }
  if (storage.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(storage);
    ::inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof host);
    const std::string_view text = host;
    if (text.starts_with("::ffff:"))
      return fmt::format("{}:{}", text.substr(7), ntohs(in.sin6_port));  // IPv4 through an IPv6 socket
    return fmt::format("[{}]:{}", text, ntohs(in.sin6_port));
  }
  return "";
}

std::string host_bytes(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET)
    return std::string(reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in&>(storage).sin_addr),
                       4);
  return std::string(reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr),
                     16);
}

void look_at_addresses(const os::UniqueFd& fd, SocketFacts& facts) {
  auto local = address(fd, ::getsockname), remote = address(fd, ::getpeername);
  facts.local = show(local);
  facts.remote = show(remote);
  // Both ends have the same address, or the peer's is in 127.0.0.0/8: it is this machine.
  facts.loopback_peer =
      !facts.remote.empty() && (host_bytes(local) == host_bytes(remote) || facts.remote.starts_with("127."));
  if (local.ss_family != AF_INET6) return;
  const auto& in = reinterpret_cast<const sockaddr_in6&>(local);
  facts.link_local_unbound = IN6_IS_ADDR_LINKLOCAL(&in.sin6_addr) && in.sin6_port != 0 &&
                             text_option(fd, SOL_SOCKET, SO_BINDTODEVICE).empty();
}

UnixSocket from_diag(const unix_diag_msg& header, const os::NetlinkAttributes& attributes) {
  UnixSocket socket;
  socket.inode = header.udiag_ino;
  socket.type = header.udiag_type;
  socket.state = header.udiag_state;
  socket.peer = attributes.number<std::uint32_t>(UNIX_DIAG_PEER, 0);
  socket.shutdown = attributes.number<std::uint8_t>(UNIX_DIAG_SHUTDOWN, 0);
  socket.name = attributes.bytes(UNIX_DIAG_NAME);
  if (!socket.name.empty() && socket.name.front() == '\0') socket.name.front() = '@';
  while (!socket.name.empty() && socket.name.back() == '\0') socket.name.pop_back();
  const auto icons = attributes.bytes(UNIX_DIAG_ICONS);
  for (std::size_t at = 0; at + 4 <= icons.size(); at += 4) {
    std::uint32_t inode = 0;
    std::memcpy(&inode, icons.data() + at, sizeof inode);
    socket.pending.push_back(inode);
  }
  return socket;
}

}  // namespace

Result<SocketFacts> read_socket(pid_t pid, int descriptor) {
  TRY_ASSIGN(auto fd, take(pid, descriptor));
  SocketFacts facts;
  facts.domain = option(fd, SOL_SOCKET, SO_DOMAIN, -1);
  facts.type = option(fd, SOL_SOCKET, SO_TYPE, -1);
  facts.protocol = option(fd, SOL_SOCKET, SO_PROTOCOL, -1);
  if (facts.domain == AF_NETLINK) {
    char byte = 0;
    facts.has_data = ::recv(fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
  }
  if (facts.domain != AF_INET && facts.domain != AF_INET6) return facts;
  look_at_addresses(fd, facts);
  if (facts.protocol == IPPROTO_TCP) {
    facts.upper_protocol = text_option(fd, IPPROTO_TCP, TCP_ULP);
    facts.in_repair = os::in_repair_mode(fd);
  }
  if (facts.protocol == IPPROTO_UDP) facts.corked = option(fd, IPPROTO_UDP, UDP_CORK) != 0;
  return facts;
}

int end_tcp_repair(pid_t pid) {
  int ended = 0;
  for (const auto& [number, link] : os::list_descriptors(pid)) {
    if (!link.starts_with("socket:[")) continue;
    auto fd = take(pid, number);
    if (!fd || !os::in_repair_mode(*fd)) continue;
    constexpr int kForgotten = 0;  // SO_REUSEADDR: repair mode has overwritten it
    if (os::leave_repair_mode(*fd, kForgotten)) ++ended;
  }
  return ended;
}

Result<UnixSockets> read_unix_sockets() {
  TRY_ASSIGN(auto netlink, os::NetlinkSocket::open(NETLINK_SOCK_DIAG));
  unix_diag_req request = {};
  request.sdiag_family = AF_UNIX;
  request.udiag_states = ~0U;
  request.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS;
  UnixSockets sockets;
  TRY_IN("listing Unix sockets (is the module unix_diag there?)",
         netlink.query(os::NetlinkRequest(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request),
                       [&](const os::NetlinkReply& reply) -> Result<void> {
                         TRY_ASSIGN(auto header, reply.header<unix_diag_msg>());
                         auto socket = from_diag(header, reply.attributes<unix_diag_msg>());
                         sockets.emplace(socket.inode, std::move(socket));
                         return {};
                       }));
  return sockets;
}

}  // namespace upkeep::engine::criu
