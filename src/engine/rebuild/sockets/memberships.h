#pragma once
// Multicast groups, ip(7), ipv6(7), packet(7).

#include "common/result.h"
#include "engine/model/sockets/socket.h"
#include "os/fd.h"

namespace upkeep::engine {

Result<void> join_groups(os::Fd fd, const Socket& socket);

}  // namespace upkeep::engine
