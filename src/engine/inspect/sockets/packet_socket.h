#pragma once
// Sockets of AF_PACKET, packet(7); packet_diag says what has been asked of interfaces for them.

#include "common/result.h"
#include "engine/inspect/sockets/socket_reading.h"

namespace upkeep::engine {

Result<void> read_packet_socket(SocketReading& reading);

}  // namespace upkeep::engine
