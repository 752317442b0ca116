#pragma once
// Multicast groups of IPv4 and IPv6 that a socket has joined. The kernel lists the groups of each interface,
// and says of a socket, asked about one group, who may send to it there (struct group_filter, ip(7)).

#include "common/result.h"
#include "engine/inspect/sockets/socket_reading.h"

namespace upkeep::engine {

Result<void> read_memberships(SocketReading& reading);

}  // namespace upkeep::engine
