#pragma once
// Sockets of AF_NETLINK, netlink(7). What they are about is the kernel's: only kinds that keep nothing there
// for a socket are carried.

#include "common/result.h"
#include "engine/inspect/sockets/socket_reading.h"

namespace upkeep::engine {

Result<void> read_netlink_socket(SocketReading& reading);

}  // namespace upkeep::engine
