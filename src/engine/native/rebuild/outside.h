#pragma once
// Connections to processes that are not part of the snapshot, found by their names.

#include "common/result.h"
#include "engine/native/model/sockets.h"
#include "os/fd.h"

namespace upkeep::native {

// Whether SOCKET is connected to such a name.
bool is_outside(const Socket& socket);

// Connects FD, a socket like SOCKET, as names are seen now. journald is told what it was told the first time.
// False: nobody listens to the name.
Result<bool> join(os::Fd fd, const Socket& socket);

}  // namespace upkeep::native
