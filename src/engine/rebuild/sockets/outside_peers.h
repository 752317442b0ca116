#pragma once
// Connections to what has a name: journald, and receivers of datagrams, of which one socket may have many.

#include "common/result.h"
#include "engine/model/sockets/socket.h"
#include "os/fd.h"

namespace upkeep::engine {

// Whether SOCKET is connected so. Then it is made first, and joined to its peer when all sockets are there.
bool is_joined(const Socket& socket);
// Then it is no end of a pair that is made as one: without a name of its own nobody else can be connected to
// it.
bool is_joined_by_name(const Socket& socket);

// Connects FD, a socket like SOCKET, as names are seen now. journald is sent what it was sent the first time.
// False: nobody takes anything at that name.
Result<bool> join(os::Fd fd, const Socket& socket);

}  // namespace upkeep::engine
