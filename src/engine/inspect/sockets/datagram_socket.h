#pragma once
// Sockets of IPv4 and IPv6 that know no connection: UDP, ICMP echo (icmp(7)), raw.

#include "common/result.h"
#include "engine/inspect/sockets/socket_reading.h"

namespace upkeep::engine {

Result<void> read_datagram_socket(SocketReading& reading);

}  // namespace upkeep::engine
