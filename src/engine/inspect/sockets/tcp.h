#pragma once
// TCP sockets. A connection shows its queues and sequence numbers in repair mode only: it is in it for the
// dozen system calls that read them, and out of it again without a packet. The network has to be held
// meanwhile: what arrived after its queue was read would be acknowledged and lost.

#include "common/result.h"
#include "engine/inspect/sockets/socket_reading.h"

namespace upkeep::engine {

Result<void> read_tcp(SocketReading& reading);

}  // namespace upkeep::engine
