#pragma once
// Peers that were met by silence have doubled their retransmission timeout several times: after 7 s of outage
// they may stay silent for another 6 s. RFC 6069 ("TCP-LCD", in Linux since 2.6.32, tcp_ld_RTO_revert()) has
// a remedy: an ICMP message that some host was unreachable, quoting the segment that the peer waits to have
// acknowledged, says that the silence was not congestion. Each message takes one doubling back, and the peer
// retransmits at once where that makes it overdue.
//
// IPv4: destination unreachable, host (type 3, code 1). IPv6: destination unreachable, no route (type 1, code
// 0), the one code that tcp_v6_err() takes for it. The error is a soft one: connections stay up; only
// programs that asked for IP_RECVERR on a TCP socket see it. Peers that have nothing outstanding, and systems
// that do not implement the RFC, ignore it; then the connection goes on with the peer's next retransmission
// by itself.

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "common/result.h"
#include "net/tcp_peers.h"

namespace upkeep::net {

struct ProdOptions {
  // Eight bring back 2^8 times the initial timeout, some 51 s of silence.
  int rounds = 8;
  std::chrono::microseconds spacing = std::chrono::milliseconds(1);  // between rounds
};

struct Prodded {
  unsigned peers = 0;     // that messages went to; loopback is left out
  unsigned messages = 0;  // sent, of all rounds
  // One for each peer that could not be reached: "192.0.2.7: Network is unreachable".
  std::vector<std::string> warnings;
};

// Once the sockets are back and the network is open. CAP_NET_RAW.
Result<Prodded> prod_peers(const std::vector<TcpPeer>& peers, const ProdOptions& options = {});

// The ICMP message for one peer that quotes SEQUENCE, without an outer IP header (exposed for tests). The
// IPv4 one carries its checksum; the kernel fills in the IPv6 one's. Empty where the addresses are none.
std::string prod_message(const TcpPeer& peer, std::uint32_t sequence);

}  // namespace upkeep::net
