#pragma once
// Messages that have not been read, looked at without taking them. SO_PEEK_OFF makes the next look begin
// behind the last one.

#include <cstdint>

#include "common/result.h"
#include "engine/inspect/sockets/socket_reading.h"

namespace upkeep::engine {

// Of sockets that keep messages, and of streams of AF_UNIX; MOST: bytes.
Result<void> read_unread_messages(SocketReading& reading, std::int64_t most = INT64_MAX);

}  // namespace upkeep::engine
