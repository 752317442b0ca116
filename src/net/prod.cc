#include "net/prod.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>

#include <cstring>
#include <map>
#include <set>

#include "net/messages.h"
#include "os/fd.h"

namespace upkeep::net {
namespace {

// RFC 1071. The result is in network order already.
std::uint16_t checksum(std::string_view bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    std::uint16_t word = 0;
    std::memcpy(&word, bytes.data() + i, std::min<std::size_t>(2, bytes.size() - i));
    sum += word;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

// The segment that the peer sent: its ports and the sequence number are what it is known by.
std::string quoted_tcp(const TcpPeer& peer, std::uint32_t sequence) {
  tcphdr segment = {};
  segment.th_sport = htons(peer.peer_port);
  segment.th_dport = htons(peer.local_port);
  segment.th_seq = htonl(sequence);
  segment.th_off = 5;
  segment.th_flags = TH_ACK;
  return raw(segment);
}

std::string message4(const TcpPeer& peer, std::uint32_t sequence, const std::string& source,
                     const std::string& destination) {
  const std::string segment = quoted_tcp(peer, sequence);
  iphdr packet = {};
  packet.version = 4;
  packet.ihl = 5;
  packet.tot_len = htons(static_cast<std::uint16_t>(sizeof packet + segment.size()));
  packet.ttl = 64;
  packet.protocol = IPPROTO_TCP;
  std::memcpy(&packet.saddr, source.data(), sizeof packet.saddr);
  std::memcpy(&packet.daddr, destination.data(), sizeof packet.daddr);
  packet.check = checksum(raw(packet));
  icmphdr header = {};
  header.type = ICMP_DEST_UNREACH;
  header.code = ICMP_HOST_UNREACH;
  header.checksum = checksum(raw(header) + raw(packet) + segment);
  return raw(header) + raw(packet) + segment;
}

std::string message6(const TcpPeer& peer, std::uint32_t sequence, const std::string& source,
                     const std::string& destination) {
  const std::string segment = quoted_tcp(peer, sequence);
  ip6_hdr packet = {};
  packet.ip6_flow = htonl(6U << 28);
  packet.ip6_plen = htons(static_cast<std::uint16_t>(segment.size()));
  packet.ip6_nxt = IPPROTO_TCP;
  packet.ip6_hlim = 64;
  std::memcpy(&packet.ip6_src, source.data(), sizeof packet.ip6_src);
  std::memcpy(&packet.ip6_dst, destination.data(), sizeof packet.ip6_dst);
  icmp6_hdr header = {};
  header.icmp6_type = ICMP6_DST_UNREACH;
  header.icmp6_code = ICMP6_DST_UNREACH_NOROUTE;
  return raw(header) + raw(packet) + segment;
}

bool by_loopback(const TcpPeer& peer) {
  // A connection to one of our own addresses is inside the machine too: both ends were still.
  return peer.peer == peer.local || peer.peer == "::1" ||
         (peer.family == AF_INET && peer.peer.starts_with("127."));
}

socklen_t fill(int family, const std::string& address, int link, sockaddr_storage& storage) {
  const std::string bytes = address_bytes(family, address);
  if (family == AF_INET) {
    sockaddr_in in = {};
    in.sin_family = AF_INET;
    std::memcpy(&in.sin_addr, bytes.data(), 4);
    std::memcpy(&storage, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in = {};
  in.sin6_family = AF_INET6;
  in.sin6_scope_id = static_cast<std::uint32_t>(link);
  std::memcpy(&in.sin6_addr, bytes.data(), 16);
  std::memcpy(&storage, &in, sizeof in);
  return sizeof in;
}

// One raw socket for each of our addresses, bound to it: the message comes from where the peer's segments go
// to.
class Sender {
 public:
  Result<void> send(const TcpPeer& peer, const std::string& message);

 private:
  Result<int> socket_from(const TcpPeer& peer);
  std::map<std::pair<std::string, int>, os::UniqueFd> sockets_;
};

Result<int> Sender::socket_from(const TcpPeer& peer) {
  auto& fd = sockets_[{peer.local, peer.link}];
  if (fd.valid()) return fd.get();
  const int protocol = peer.family == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  os::UniqueFd fresh(::socket(peer.family, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fresh.valid()) return ErrnoErr("raw socket");
  sockaddr_storage ours = {};
  const socklen_t size = fill(peer.family, peer.local, peer.link, ours);
  if (::bind(fresh.get(), reinterpret_cast<const sockaddr*>(&ours), size) < 0)
    return ErrnoErr("bind to {}", peer.local);
  // Nothing is ever read from it: what arrives must not pile up.
  const int none = 0;
  ::setsockopt(fresh.get(), SOL_SOCKET, SO_RCVBUF, &none, sizeof none);
  fd = std::move(fresh);
  return fd.get();
}

Result<void> Sender::send(const TcpPeer& peer, const std::string& message) {
  TRY_ASSIGN(const int fd, socket_from(peer));
  sockaddr_storage theirs = {};
  const socklen_t size = fill(peer.family, peer.peer, peer.link, theirs);
  if (::sendto(fd, message.data(), message.size(), MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&theirs),
               size) < 0) {
    return ErrnoErr("{}", peer.peer);
  }
  return {};
}

}  // namespace

std::string prod_message(const TcpPeer& peer, std::uint32_t sequence) {
  const std::string theirs = address_bytes(peer.family, peer.peer),
                    ours = address_bytes(peer.family, peer.local);
  if (theirs.empty() || ours.empty()) return "";
  return peer.family == AF_INET ? message4(peer, sequence, theirs, ours)
                                : message6(peer, sequence, theirs, ours);
}

Result<Prodded> prod_peers(const std::vector<TcpPeer>& peers, const ProdOptions& options) {
  struct Message {
    const TcpPeer* peer;
    std::string bytes;
  };
  std::vector<Message> messages;
  Prodded result;
  std::set<std::string> unreachable;
  for (const auto& peer : peers) {
    if (by_loopback(peer)) continue;
    ++result.peers;
    // Which of the two the peer's oldest segment starts with depends on whether our last acknowledgement
    // reached it.
    messages.push_back({&peer, prod_message(peer, peer.receive_next)});
    if (peer.acknowledged != peer.receive_next)
      messages.push_back({&peer, prod_message(peer, peer.acknowledged)});
  }
  Sender sender;
  for (int round = 0; round < options.rounds && !messages.empty(); ++round) {
    if (round > 0) {
      const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(options.spacing).count();
      const timespec pause = {nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
      ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
    }
    for (const auto& message : messages) {
      if (message.bytes.empty()) {
        unreachable.insert(fmt::format("{}: not an address", message.peer->peer));
        continue;
      }
      if (auto sent = sender.send(*message.peer, message.bytes)) {
        ++result.messages;
      } else {
        unreachable.insert(sent.error().message());
      }
    }
  }
  result.warnings.assign(unreachable.begin(), unreachable.end());
  return result;
}

}  // namespace upkeep::net
