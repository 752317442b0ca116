#pragma once
// What setsockopt(2) takes and getsockopt(2) does not give. The kernel's memory is asked, of those sockets
// that may have any of it.

#include "engine/inspect/sockets/socket_reading.h"

namespace upkeep::engine {

// Of an IPv4 or IPv6 socket.
void read_write_only_options(SocketReading& reading);

}  // namespace upkeep::engine
