#pragma once
// Sockets of AF_UNIX, unix(7); unix_diag says who is connected to whom.

#include "common/result.h"
#include "engine/inspect/sockets/socket_reading.h"

namespace upkeep::engine {

Result<void> read_unix(SocketReading& reading);

}  // namespace upkeep::engine
