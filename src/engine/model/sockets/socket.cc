#include "engine/model/sockets/socket.h"

#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace upkeep::engine {
namespace {

// The kernel tunes the sizes of those buffers that nobody has set.
unsigned locked_buffers(const Socket& socket) {
  unsigned locked = 0;
  for (const auto& option : socket.options) {
    if (option.level == SOL_SOCKET && option.name == SO_BUF_LOCK && option.value.data.size() == sizeof locked)
      std::memcpy(&locked, option.value.data.data(), sizeof locked);
  }
  return locked;
}

// Repair mode overwrites an option; binding an IPv6 socket to one address, as connecting does not, sets
// IPV6_V6ONLY, which means nothing for a connection.
void forget_repair_mode(Socket& socket) {
  constexpr unsigned kSendBuffer = 1, kReceiveBuffer = 2;  // SOCK_SNDBUF_LOCK, SOCK_RCVBUF_LOCK
  const unsigned locked = locked_buffers(socket);
  std::erase_if(socket.options, [locked](const auto& option) {
    if (option.level == IPPROTO_IPV6 && option.name == IPV6_V6ONLY) return true;
    if (option.level != SOL_SOCKET) return false;
    return option.name == SO_REUSEADDR || (option.name == SO_SNDBUF && (locked & kSendBuffer) == 0) ||
           (option.name == SO_RCVBUF && (locked & kReceiveBuffer) == 0);
  });
}

// journald may not have got around to accepting the stream, nor to saying what it knows of it.
void forget_what_journald_says(Socket& socket) {
  if (!leads_to_journald(socket)) return;
  socket.journal.reset();
  socket.peer = 0;
  socket.shutdown = 0;  // it shuts the other direction down
  socket.connecting = false;
}

// They are numbered otherwise here; what has the name is the same.
void forget_interface_numbers(Socket& socket) {
  for (auto& option : socket.options) {
    if (!option.interface.empty()) option.value.data.clear();
  }
  const auto forget = [](Bytes& name, std::size_t at, std::size_t size) {
    if (name.data.size() >= at + size)
      std::fill_n(name.data.begin() + static_cast<std::ptrdiff_t>(at), size, 0);
  };
  for (auto* name : {&socket.local, &socket.remote}) {
    if (socket.family == AF_INET6)
      forget(*name, offsetof(sockaddr_in6, sin6_scope_id), sizeof(sockaddr_in6::sin6_scope_id));
    if (socket.family == AF_PACKET)
      forget(*name, offsetof(sockaddr_ll, sll_ifindex), sizeof(sockaddr_ll::sll_ifindex));
  }
}

// The PIDs of those who have ended may be somebody else's by now.
void forget_ended_peers(Socket& socket, const std::unordered_set<std::int32_t>& ids) {
  const auto forget = [&](std::int32_t& pid) {
    if (!ids.contains(pid)) pid = 0;
  };
  if (socket.peer_credentials) forget(socket.peer_credentials->pid);
  for (auto& message : socket.unread) {
    if (message.credentials) forget(message.credentials->pid);
  }
}

// Binding an IPv6 socket to one address, as connecting does not, sets IPV6_V6ONLY, which means nothing for
// it.
void forget_own_family(Socket& socket) {
  if (socket.type != SOCK_DGRAM || socket.remote.data.empty()) return;
  std::erase_if(socket.options, [](const auto& option) {
    return option.level == IPPROTO_IPV6 && option.name == IPV6_V6ONLY;
  });
}

// It asks for its connection when everything else is there (rebuild/sockets/tcp.h).
void forget_question(Socket& socket) {
  if (!socket.connecting || socket.protocol != IPPROTO_TCP) return;
  socket.connecting = false;
  socket.remote.data.clear();
}

// Receivers of datagrams outside are found by their names, or are not there any more
// (rebuild/sockets/outside_peers.h).
void forget_receiver_outside(Socket& socket, const std::set<std::uint64_t>& inside) {
  if (socket.type != SOCK_DGRAM || inside.contains(socket.peer)) return;
  socket.peer = 0;
  if (socket.family == AF_UNIX) socket.remote.data.clear();
}

}  // namespace

Result<void> validate(const Socket& socket, const KnownObjects&) {
  constexpr std::size_t kLargestName = 128;  // struct sockaddr_storage
  if (socket.local.data.size() > kLargestName || socket.remote.data.size() > kLargestName)
    return Err("its name is longer than any");
  constexpr std::size_t kInstruction = 8, kMostInstructions = 4096;  // struct sock_filter, BPF_MAXINSNS
  const auto filter = socket.filter.data.size();
  if (filter % kInstruction != 0 || filter / kInstruction > kMostInstructions)
    return Err("a packet filter of {} bytes", filter);
  if (socket.connecting && socket.remote.data.empty()) return Err("it is being connected to nobody");
  if (socket.shutdown > 3) return Err("it is shut down in no known direction");
  if (socket.journal && (!leads_to_journald(socket) || socket.listening))
    return Err("it is no stream to journald");
  if (socket.connection && socket.remote.data.empty()) return Err("it is connected to nothing");
  if (socket.connection && socket.unread.size() > 1) return Err("its queues are impossible");
  return {};
}

void make_comparable(Socket& value, const Socket*, Comparison& comparison) {
  forget_receiver_outside(value, comparison.sockets_here);
  value.inode = comparison.sockets(value.inode);
  if (value.network != 0) value.network = comparison.namespaces(value.network);
  if (value.connection) forget_repair_mode(value);
  forget_what_journald_says(value);
  forget_interface_numbers(value);
  forget_ended_peers(value, comparison.tasks);
  forget_question(value);
  forget_own_family(value);
  for (auto& client : value.waiting) client = comparison.sockets(client);
  if (value.peer != 0) value.peer = comparison.sockets(value.peer);
}

}  // namespace upkeep::engine
