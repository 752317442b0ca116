// Sockets, asked through a descriptor of our own (pidfd_getfd(2)), and unix_diag for who is connected to
// whom.

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <linux/sockios.h>
#include <algorithm>
#include <array>

#include "engine/native/inspect/journal_stream.h"
#include "engine/native/inspect/readers.h"
#include "os/netlink.h"

namespace upkeep::native {
namespace {

struct Numbers {
  int level;
  int last;  // options are numbered from 1
  std::initializer_list<int>
      left_out;  // states and statistics; questions that change something (SO_ERROR); unsettled values
  std::initializer_list<int> carried;
};

// Numbers of asm-generic/socket.h, linux/tcp.h, linux/in.h and linux/in6.h.
const Numbers kSocketNumbers = {
    SOL_SOCKET,
    82,
    {3, 4, 17, 26, 28, 30, 31, 38, 39, 49, 55, 56, 57, 59, 71, 77},
    {2, 5, 6, 7, 8, 9, 10, 12, 13, 15, 16, 18, 20, 21, 25, 29, 34, 36, 42, 46, 60, 72}};
const Numbers kTcpNumbers = {IPPROTO_TCP,
                             37,
                             {2, 10, 11, 12, 19, 20, 21, 22, 24, 26, 28, 29, 35},
                             {1, 3, 4, 5, 6, 7, 8, 9, 13, 18, 23, 25, 27, 34, 36}};
const Numbers kIpNumbers = {IPPROTO_IP,
                            51,
                            {4, 9, 14, 16, 17, 40, 41, 48},
                            {1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 18, 19, 20, 24, 33, 34, 49}};
const Numbers kIp6Numbers = {IPPROTO_IPV6,
                             80,
                             {1, 6, 24, 32, 34, 35, 48, 50, 61},
                             {16, 18, 19, 23, 25, 26, 29, 33, 49, 51, 66, 67, 70, 72, 74, 75, 76, 78}};

bool contains(std::initializer_list<int> list, int value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::optional<Bytes> option(os::Fd fd, int level, int name) {
  std::array<std::uint8_t, 256> value = {};
  socklen_t size = value.size();
  if (::getsockopt(fd.get(), level, name, value.data(), &size) < 0) return std::nullopt;
  return Bytes{{value.begin(), value.begin() + std::min<socklen_t>(size, value.size())}};
}

int number_option(os::Fd fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd.get(), level, name, &value, &size) == 0 ? value : -1;
}

// Whatever differs from a new socket of the same kind, so that nothing is overlooked.
// A connection that was accepted has some of multicast from the packet that began it, which mean nothing.
bool means_nothing(const Socket& socket, int level, int name) {
  if (socket.protocol != IPPROTO_TCP) return false;
  return level == IPPROTO_IP
             ? contains({IP_MULTICAST_IF, IP_MULTICAST_TTL}, name)
             : level == IPPROTO_IPV6 && contains({IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS}, name);
}

void read_options(os::Fd fd, const Numbers& numbers, os::Fd fresh, Socket& socket,
                  std::vector<std::string>& reasons) {
  for (int name = 1; name <= numbers.last; ++name) {
    if (contains(numbers.left_out, name) || means_nothing(socket, numbers.level, name)) continue;
    auto value = option(fd, numbers.level, name);
    if (!value || value == option(fresh, numbers.level, name)) continue;
    if (contains(numbers.carried, name))
      socket.options.push_back({numbers.level, name, std::move(*value)});
    else
      reasons.push_back(
          fmt::format("option {} of level {} is not rebuilt by this version", name, numbers.level));
  }
}

Result<void> read_all_options(os::Fd fd, Socket& socket, std::vector<std::string>& reasons) {
  const os::UniqueFd fresh(::socket(socket.family, socket.type | SOCK_CLOEXEC, socket.protocol));
  if (!fresh.valid()) return ErrnoErr("socket");
  read_options(fd, kSocketNumbers, fresh, socket, reasons);
  // Its length counts instructions, not bytes: only how many there are is asked (sk_get_filter() of the
  // kernel).
  socklen_t instructions = 0;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_GET_FILTER, nullptr, &instructions) == 0 && instructions != 0)
    reasons.emplace_back("a packet filter is attached, which is not rebuilt by this version");
  if (socket.protocol == IPPROTO_TCP) read_options(fd, kTcpNumbers, fresh, socket, reasons);
  if (socket.family != AF_UNIX) read_options(fd, kIpNumbers, fresh, socket, reasons);
  if (socket.family == AF_INET6) read_options(fd, kIp6Numbers, fresh, socket, reasons);
  return {};
}

Result<void> read_name(os::Fd fd, Socket& socket) {
  std::array<std::uint8_t, sizeof(sockaddr_storage)> name = {};
  socklen_t size = name.size();
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(name.data()), &size) < 0)
    return ErrnoErr("getsockname");
  socket.local.data.assign(name.begin(), name.begin() + size);
  return {};
}

// Looks at every message without taking it. SO_PEEK_OFF makes the next look begin behind the last one.
Result<void> peek_messages(os::Fd fd, Socket& socket, std::vector<std::string>& reasons) {
  const int before = number_option(fd, SOL_SOCKET, SO_PEEK_OFF), from_start = 0;
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_PEEK_OFF, &from_start, sizeof from_start) < 0)
    return ErrnoErr("SO_PEEK_OFF");
  std::vector<std::uint8_t> buffer(1U << 20U);
  for (;;) {
    std::array<std::uint8_t, 512> control = {};
    iovec area = {buffer.data(), buffer.size()};
    msghdr message = {};
    message.msg_iov = &area;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(fd.get(), &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size <= 0) break;
    for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_type != SCM_RIGHTS) continue;
      const auto count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int taken = -1;
        std::memcpy(&taken, CMSG_DATA(part) + i * sizeof taken, sizeof taken);
        ::close(taken);
      }
      reasons.emplace_back("descriptors are on their way through it");
    }
    if ((message.msg_flags & MSG_TRUNC) != 0) reasons.emplace_back("a message in it is larger than 1 MiB");
    auto& unread = socket.type == SOCK_STREAM && !socket.unread.empty() ? socket.unread.front()
                                                                        : socket.unread.emplace_back();
    unread.data.insert(unread.data.end(), buffer.begin(), buffer.begin() + size);
  }
  ::setsockopt(fd.get(), SOL_SOCKET, SO_PEEK_OFF, &before, sizeof before);
  return {};
}

struct UnixFacts {
  int state = 0;
  std::uint64_t peer = 0;
  std::uint32_t shutdown = 0, waiting = 0, backlog = 0;
};

Result<UnixFacts> ask_unix_diag(std::uint64_t inode) {
  TRY_ASSIGN(auto netlink, os::NetlinkSocket::open(NETLINK_SOCK_DIAG));
  unix_diag_req request = {};
  request.sdiag_family = AF_UNIX;
  request.udiag_states = ~0U;
  request.udiag_ino = static_cast<std::uint32_t>(inode);
  request.udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN;
  request.udiag_cookie[0] = request.udiag_cookie[1] = ~0U;  // any
  UnixFacts facts;
  TRY_IN("asking unix_diag",
         netlink.query(os::NetlinkRequest(SOCK_DIAG_BY_FAMILY, 0, request),
                       [&](const os::NetlinkReply& reply) -> Result<void> {
                         TRY_ASSIGN(const auto header, reply.header<unix_diag_msg>());
                         const auto attributes = reply.attributes<unix_diag_msg>();
                         facts.state = header.udiag_state;
                         facts.peer = attributes.number<std::uint32_t>(UNIX_DIAG_PEER, 0);
                         facts.shutdown = attributes.number<std::uint8_t>(UNIX_DIAG_SHUTDOWN, 0);
                         const auto queues = attributes.number<unix_diag_rqlen>(UNIX_DIAG_RQLEN, {});
                         facts.waiting = queues.udiag_rqueue;
                         facts.backlog = queues.udiag_wqueue;
                         return {};
                       }));
  return facts;
}

// A connection has its listener's name, not its file.
bool has_file(const Socket& socket) { return socket.type == SOCK_DGRAM || socket.peer == 0; }

void read_socket_file(Socket& socket, std::vector<std::string>& reasons) {
  const auto path = unix_name(socket.local);
  if (path.empty() || path.front() == '@') return;
  struct stat status = {};
  if (!path.starts_with('/'))
    reasons.push_back(fmt::format("its name '{}' does not say in which folder it is", path));
  else if (::lstat(path.c_str(), &status) < 0 || !S_ISSOCK(status.st_mode))
    reasons.push_back(fmt::format("its file {} has been removed", path));
  else
    socket.file = SocketFile{status.st_mode & 07777U, status.st_uid, status.st_gid};
}

// Not every socket has a peer, and not every peer a name. Datagrams to one that is gone go nowhere.
void read_name_of_peer(os::Fd fd, Socket& socket) {
  if (socket.type == SOCK_DGRAM && socket.peer == 0) return;
  std::array<std::uint8_t, sizeof(sockaddr_storage)> name = {};
  socklen_t size = name.size();
  if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(name.data()), &size) == 0 &&
      size > sizeof(sa_family_t))
    socket.remote.data.assign(name.begin(), name.begin() + size);
}

// Anybody may choose journald's name: it is known by what it keeps about the stream.
void read_journal(os::Fd fd, os::Fd own_root, Socket& socket, std::vector<std::string>& reasons) {
  if (!leads_to_journald(socket)) return;
  auto stream = read_journal_stream(fd, socket, own_root);
  if (stream)
    socket.journal = std::move(*stream);
  else
    reasons.push_back("what systemd-journald keeps about it cannot be read: " + stream.error().message());
}

Result<void> read_unix(os::Fd fd, bool stopped, os::Fd own_root, Socket& socket,
                       std::vector<std::string>& reasons) {
  TRY_ASSIGN(const auto facts, ask_unix_diag(socket.inode));
  constexpr int kEstablished = 1;  // TCP_ESTABLISHED
  socket.peer = facts.peer;
  socket.shutdown = facts.shutdown;
  read_name_of_peer(fd, socket);
  read_journal(fd, own_root, socket, reasons);
  if (has_file(socket)) read_socket_file(socket, reasons);
  if (socket.listening) {
    socket.backlog = facts.backlog;
    if (facts.waiting != 0) reasons.emplace_back("connections wait to be accepted");
    return {};
  }
  if (facts.peer == 0 && facts.state == kEstablished && socket.type != SOCK_DGRAM)
    reasons.emplace_back("its peer has gone");
  if (!stopped) return {};  // the task itself may be looking
  return peek_messages(fd, socket, reasons);
}

}  // namespace

Result<std::vector<std::string>> read_socket(os::Fd fd, std::uint64_t inode, bool stopped, os::Fd own_root,
                                             Socket& socket) {
  std::vector<std::string> reasons;
  socket.inode = inode;
  socket.family = number_option(fd, SOL_SOCKET, SO_DOMAIN);
  socket.type = number_option(fd, SOL_SOCKET, SO_TYPE);
  socket.protocol = number_option(fd, SOL_SOCKET, SO_PROTOCOL);
  const bool inet = socket.family == AF_INET || socket.family == AF_INET6;
  if (socket.family != AF_UNIX && !(inet && socket.protocol == IPPROTO_TCP)) {
    reasons.push_back(fmt::format("sockets of family {}, protocol {} are not rebuilt by this version",
                                  socket.family, socket.protocol));
    return reasons;
  }
  socket.listening = number_option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1;
  TRY(read_name(fd, socket));
  if (socket.family == AF_UNIX) {
    TRY(read_unix(fd, stopped, own_root, socket, reasons));
  } else {
    TRY(read_tcp(fd, stopped, socket, reasons));
  }
  TRY(read_all_options(fd, socket, reasons));
  return reasons;
}

}  // namespace upkeep::native
