#pragma once
// Sockets of netlink(7): port, groups, and whom they are connected to.

#include "common/result.h"
#include "engine/model/sockets/socket.h"
#include "os/fd.h"

namespace upkeep::engine {

Result<void> bind_netlink_socket(os::Fd fd, const Socket& socket);

}  // namespace upkeep::engine
