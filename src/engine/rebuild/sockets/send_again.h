#pragma once
// Datagrams of UDP that had arrived, sent once more: by us, from whom they came.

#include "common/result.h"
#include "engine/model/sockets/socket.h"
#include "os/fd.h"

namespace upkeep::engine {

// To TO, whose descriptor FD is, with the address and port of the one who had sent MESSAGE. Returns when it
// has arrived. The packet never leaves this machine, and passes a network that is held (os/put_back_mark.h).
Result<void> send_again(const Message& message, const Socket& to, os::Fd fd);

}  // namespace upkeep::engine
