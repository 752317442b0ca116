#include "engine/inspect/sockets/unix_socket.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <linux/sockios.h>

#include <cstring>

#include "engine/inspect/calls/look.h"
#include "engine/inspect/calls/reason.h"
#include "engine/inspect/sockets/journal_stream.h"
#include "engine/inspect/sockets/socket_questions.h"
#include "engine/inspect/sockets/unread_messages.h"
#include "os/netlink.h"
#include "os/tcp_repair.h"

namespace upkeep::engine {
namespace {

constexpr std::uint32_t kBoth = 3;  // of Socket::shutdown

struct UnixFacts {
  int state = 0;
  std::uint64_t peer = 0;
  std::uint32_t shutdown = 0, waiting = 0, backlog = 0;
  std::vector<std::uint64_t> clients;  // who wait to be accepted
};

std::vector<std::uint64_t> numbers_in(const os::NetlinkAttribute* attribute) {
  std::vector<std::uint64_t> numbers;
  if (attribute == nullptr) return numbers;
  std::uint32_t number = 0;
  for (std::size_t at = 0; at + sizeof number <= attribute->payload().size(); at += sizeof number) {
    std::memcpy(&number, attribute->payload().data() + at, sizeof number);
    numbers.push_back(number);
  }
  return numbers;
}

Result<UnixFacts> ask_unix_diag(os::NetlinkSocket& netlink, std::uint64_t inode) {
  unix_diag_req request = {};
  request.sdiag_family = AF_UNIX;
  request.udiag_states = ~0U;
  request.udiag_ino = static_cast<std::uint32_t>(inode);
  request.udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_ICONS;
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
                         facts.clients = numbers_in(attributes.find(UNIX_DIAG_ICONS));
                         return {};
                       }));
  return facts;
}

// A socket of ours belongs to one network: that of most is asked again and again.
Result<UnixFacts> read_facts(const SocketReading& reading) {
  if (reading.own_diag == nullptr) {
    TRY_ASSIGN(auto netlink, os::NetlinkSocket::open(NETLINK_SOCK_DIAG));
    return ask_unix_diag(netlink, reading.socket.inode);
  }
  auto& netlink = reading.own_diag->socket;
  if (!netlink) {
    TRY_ASSIGN(netlink, os::NetlinkSocket::open(NETLINK_SOCK_DIAG));
  }
  return ask_unix_diag(*netlink, reading.socket.inode);
}

// A connection has its listener's name, not its file.
bool has_file(const Socket& socket) {
  return socket.type == SOCK_DGRAM || (socket.peer == 0 && !socket.peer_gone);
}

void read_socket_file(SocketReading& reading) {
  auto& socket = reading.socket;
  const auto path = unix_name(socket.local);
  if (path.empty() || path.front() == '@') return;
  struct stat status = {};
  if (!path.starts_with('/'))
    reading.refuse(fmt::format("its name '{}' does not say in which directory it is", path));
  else if (::lstat(path.c_str(), &status) < 0 || !S_ISSOCK(status.st_mode))
    reading.refuse(fmt::format("its file {} has been removed", path));
  else
    socket.file = SocketFile{status.st_mode & 07777U, status.st_uid, status.st_gid};
}

// Anybody may choose journald's name: it is known by what it keeps about the stream.
void read_journal(SocketReading& reading) {
  if (!leads_to_journald(reading.socket)) return;
  auto stream = read_journal_stream(reading.fd, reading.socket, reading.own_root);
  if (stream)
    reading.socket.journal = std::move(*stream);
  else
    reading.refuse("what systemd-journald keeps about it cannot be read: " + stream.error().message());
}

// Of a connection, and of who listens. Those of journald, which is found anew, are its own.
Result<void> read_peer_credentials(SocketReading& reading) {
  const auto peer = os::socket_option<ucred>(reading.fd, SOL_SOCKET, SO_PEERCRED);
  if (!peer || peer->pid == 0) return {};  // never connected, or to somebody in a PID namespace out of sight
  auto& its = reading.socket.peer_credentials.emplace();
  its = {peer->pid, peer->uid, peer->gid, {}};
  socklen_t size = 0;
  if (::getsockopt(reading.fd.get(), SOL_SOCKET, SO_PEERGROUPS, nullptr, &size) < 0 && errno != ERANGE)
    return {};
  its.groups.resize(size / sizeof(std::uint32_t));
  if (size != 0 && ::getsockopt(reading.fd.get(), SOL_SOCKET, SO_PEERGROUPS, its.groups.data(), &size) < 0)
    return ErrnoErr("SO_PEERGROUPS");
  return {};
}

// A connection without a peer that has a number: either it waits to be accepted, or its peer has been closed.
// A socket of datagrams may also have been connected to nothing.
void look_for_peer(SocketReading& reading, const UnixFacts& facts) {
  auto& socket = reading.socket;
  if (facts.peer != 0 || socket.listening) return;
  if (socket.type == SOCK_DGRAM) {
    sockaddr_un name = {};
    socklen_t size = sizeof name;
    socket.peer_gone = socket.remote.data.empty() &&
                       ::getpeername(reading.fd.get(), reinterpret_cast<sockaddr*>(&name), &size) == 0;
    return;
  }
  if (facts.state != os::kTcpEstablished) return;
  socket.peer_gone = facts.shutdown == kBoth;
  socket.connecting = !socket.peer_gone;
  socket.peer_reset = socket.peer_gone && (events_now(reading.fd) & POLLERR) != 0;
}

// A look behind the last byte would take the error away.
Result<void> read_before_reset(SocketReading& reading) {
  int unread = 0;
  if (::ioctl(reading.fd.get(), SIOCINQ, &unread) < 0) return ErrnoErr("SIOCINQ");
  if (unread != 0 && reading.socket.type != SOCK_STREAM)
    reading.refuse("messages wait in it behind an error that has not been looked at", kTryAgain);
  else if (unread != 0)
    return read_unread_messages(reading, unread);
  return {};
}

}  // namespace

Result<void> read_unix(SocketReading& reading) {
  auto& socket = reading.socket;
  TRY_ASSIGN(const auto facts, read_facts(reading));
  socket.peer = facts.peer;
  socket.shutdown = facts.shutdown;
  // Not every socket has a peer, and not every peer a name. Datagrams to one that is gone go nowhere.
  if (socket.type != SOCK_DGRAM || socket.peer != 0) TRY(read_remote_name(reading));
  look_for_peer(reading, facts);
  read_journal(reading);
  if (has_file(socket)) read_socket_file(reading);
  if (!leads_to_journald(socket)) TRY(read_peer_credentials(reading));
  if (socket.listening) {
    socket.backlog = facts.backlog;
    socket.waiting = facts.clients;
    return {};
  }
  if (!stand_still(reading.tasks)) return {};
  if (socket.peer_reset) return read_before_reset(reading);
  // Messages may be empty, and are there all the same.
  const bool is_empty = socket.type == SOCK_STREAM && facts.waiting == 0;
  return is_empty ? Result<void>() : read_unread_messages(reading);
}

}  // namespace upkeep::engine
