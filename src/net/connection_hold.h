#pragma once
// Some TCP connections held, and nothing else: no packet of theirs reaches its socket or leaves it, so that
// their ends can be taken away and made again while the peers see silence. An nf_tables table of the family
// inet with a set of addresses and ports, which two chains look every packet up in where it is about to be
// given to a socket, and where it comes from one; in the network namespace of the caller.

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "net/tcp_peers.h"
#include "os/netlink.h"

namespace upkeep::net {

class ConnectionHold {
 public:
  // Ends with this object or with its process (a table with an owner, Linux 5.12), until keep() is called.
  static Result<ConnectionHold> begin(std::vector<TcpPeer> connections);
  // From now on it stays until release_connections(), whatever becomes of us. NAME: of the table.
  Result<void> keep(const std::string& name) const;
  const std::vector<TcpPeer>& connections() const { return connections_; }

 private:
  ConnectionHold(os::NetlinkSocket socket, std::vector<TcpPeer> connections)
      : socket_(std::move(socket)), connections_(std::move(connections)) {}
  os::NetlinkSocket socket_;
  std::vector<TcpPeer> connections_;
};

// Idempotent.
Result<void> release_connections(const std::string& name);

}  // namespace upkeep::net
