#include <netinet/in.h>
#include <sys/socket.h>

#include "engine/criu/ruling.h"

namespace upkeep::engine::criu {
namespace {

constexpr int kEstablished = 1;
constexpr std::uint8_t kShutBoth = 3;
constexpr const char* kLeaveOut = "leave it out of --carry";
constexpr const char* kOwnOutput =
    "start it outside its unit with its output going into a file (README, \"Services that are started by "
    "hand\")";

std::string peer_name(const UnixSocket& peer, const Ruling& ruling) {
  auto holder = ruling.outsider_holding(fmt::format("socket:[{}]", peer.inode));
  if (!peer.name.empty()) return holder.empty() ? peer.name : fmt::format("{} of {}", peer.name, holder);
  return holder.empty() ? "a program that is not in its tree" : holder;
}

// Datagram sockets outside are reached by name again, which criu does; half of a stream cannot be made.
void judge_peer(const std::string& subject, const UnixSocket& socket, const UnixSocket& peer,
                Ruling& ruling) {
  const bool journal = peer.name == "/run/systemd/journal/stdout";
  if (peer.type != SOCK_DGRAM) {
    return ruling.refuse(
        subject, fmt::format("it is a Unix stream to {}, which is not in its tree", peer_name(peer, ruling)),
        journal ? kOwnOutput : "end that connection, or leave it out of --carry");
  }
  if (peer.name.empty() && peer.peer != socket.inode) {
    return ruling.refuse(
        subject,
        fmt::format("it is a Unix datagram socket to {}, which has no name to find it by again",
                    peer_name(peer, ruling)),
        kLeaveOut);
  }
  if (peer.name.empty()) {
    return ruling.refuse(subject,
                         fmt::format("it is one end of a pair of Unix sockets; the other belongs to {}",
                                     peer_name(peer, ruling)),
                         kLeaveOut);
  }
}

void judge_unix(const std::string& subject, std::uint64_t inode, Ruling& ruling) {
  const auto& all = ruling.machine.unix_sockets;
  auto socket = all.find(inode);
  if (socket == all.end()) return;
  const auto& own = socket->second;
  if (own.peer != 0) {
    if (ruling.holds_socket(own.peer)) return;
    auto peer = all.find(own.peer);
    if (peer != all.end()) return judge_peer(subject, own, peer->second, ruling);
    return ruling.refuse(subject, "the other end of this Unix socket is in another network namespace",
                         kLeaveOut);
  }
  if (own.state != kEstablished || own.type == SOCK_DGRAM || own.shutdown == kShutBoth) return;
  // A connection that its server has not accepted yet: the server must be carried as well.
  for (const auto& [number, listener] : all) {
    for (auto pending : listener.pending) {
      if (pending == own.inode && ruling.holds_socket(number)) return;
    }
  }
  ruling.refuse(subject, "it waits for a server outside its tree to accept its connection",
                "try again in a moment");
}

void judge_inet(const std::string& subject, const SocketFacts& facts, Ruling& ruling) {
  const bool raw = facts.type == SOCK_RAW;
  const bool known = raw || facts.protocol == IPPROTO_IP || facts.protocol == IPPROTO_TCP ||
                     facts.protocol == IPPROTO_UDP || facts.protocol == IPPROTO_UDPLITE;
  if (!known) {
    return ruling.refuse(subject,
                         fmt::format("it is a socket of protocol {} ({})", facts.protocol,
                                     facts.protocol == IPPROTO_MPTCP ? "MPTCP" : "neither TCP nor UDP"),
                         kLeaveOut);
  }
  if (!facts.upper_protocol.empty()) {
    return ruling.refuse(
        subject, fmt::format("its connection is handled by '{}' inside the kernel", facts.upper_protocol),
        "switch kernel TLS off in its configuration");
  }
  if (facts.corked)
    return ruling.refuse(subject, "it holds back a datagram (UDP_CORK)", "try again in a moment");
  if (facts.in_repair)
    return ruling.refuse(subject, "it is in repair mode: a checkpoint of it was broken off", "restart it");
  if (facts.link_local_unbound)
    return ruling.refuse(subject, "it is bound to a link-local address but to no interface", kLeaveOut);
  if (facts.loopback_peer && facts.protocol == IPPROTO_TCP &&
      !ruling.machine.carried_ends.contains(facts.remote)) {
    ruling.warn(subject,
                fmt::format("its connection to {} on this machine ends, since the other end is not carried",
                            facts.remote),
                "carry that program as well");
  }
}

}  // namespace

void judge_socket(const TaskFacts& task, const Descriptor& descriptor, Ruling& ruling) {
  auto found = ruling.tree.sockets.find({task.pid, descriptor.number});
  if (found == ruling.tree.sockets.end()) return;  // closed meanwhile
  const auto subject = name_of(task, descriptor);
  switch (const auto& facts = found->second; facts.domain) {
    case AF_UNIX:
      return judge_unix(subject, descriptor.inode(), ruling);
    case AF_INET:
    case AF_INET6:
      return judge_inet(subject, facts, ruling);
    case AF_PACKET:
      return;
    case AF_NETLINK:
      if (facts.has_data)
        ruling.refuse(subject, "it is a netlink socket with messages that have not been read",
                      "try again in a moment");
      return;
    default:
      ruling.refuse(
          subject,
          fmt::format("it is a socket of address family {}, which criu does not carry", facts.domain),
          kLeaveOut);
  }
}

}  // namespace upkeep::engine::criu
