#pragma once
// Sockets of packet(7).

#include "common/result.h"
#include "engine/model/sockets/socket.h"
#include "os/fd.h"

namespace upkeep::engine {

// To the protocol and interface in its name, where it has them; the interface has the number that it has
// here.
Result<void> bind_packet_socket(os::Fd fd, const Socket& socket);

}  // namespace upkeep::engine
