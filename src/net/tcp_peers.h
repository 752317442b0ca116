#pragma once
// The TCP connections that tasks hold, as seen from the other ends: what prod_peers() needs to wake those up
// again.

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::net {

struct TcpPeer {
  int family = 0;           // AF_INET (an IPv6 socket's IPv4-mapped connection too) or AF_INET6
  std::string local, peer;  // addresses as text
  std::uint16_t local_port = 0, peer_port = 0;
  int link = 0;  // index of the link of a link-local IPv6 address; 0 otherwise
  // The next byte that we expect: what the peer's oldest unacknowledged segment starts with, once our last
  // acknowledgement reached it.
  std::uint32_t receive_next = 0;
  // The last one that we told it. Where the two differ an acknowledgement was still due when the network was
  // closed.
  std::uint32_t acknowledged = 0;
  bool operator==(const TcpPeer&) const = default;
};

nlohmann::json to_json(const std::vector<TcpPeer>& peers);
Result<std::vector<TcpPeer>> tcp_peers_from_json(const nlohmann::json& json);

// The connections of these tasks that a peer may still send on or wait for an answer on. Each socket counts
// once, however many descriptors and tasks hold it. For tasks that stand still, with the network held.
//
// pidfd_getfd (Linux 5.6, PTRACE_MODE_ATTACH) makes a second descriptor of the task's own socket, which is
// asked directly. Sequence numbers are readable in repair mode only (TCP_REPAIR, tcp(7); CAP_NET_ADMIN): a
// socket that is not in it, is for three system calls, and comes out of it without a window probe. One that
// is stays so. The calling thread is the one whose end would let the tasks run on
// (os/survivor.h).
//
// Not seen: connections that no descriptor refers to (not yet accepted, or in flight over a Unix socket), and
// descriptors of threads that have a table of their own. A task that is gone by now has none.
Result<std::vector<TcpPeer>> collect_tcp_peers(const std::vector<pid_t>& pids);

// Asks the peers of those connections of these tasks that have data to send where they are, by a window probe
// each: whatever the peer told while the network was held is told again, instead of after our own
// retransmission timer. Leaving repair mode sends one (tcp_send_window_probe(), Linux 3.5). Returns how many.
// With the network open, and for tasks that stand still, held as above: in between a task's own write would
// fail.
Result<unsigned> probe_windows(const std::vector<pid_t>& pids);

}  // namespace upkeep::net
