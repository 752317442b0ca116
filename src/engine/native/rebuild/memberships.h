#pragma once
// Multicast groups, ip(7), ipv6(7), packet(7).

#include "common/result.h"
#include "engine/native/model/sockets.h"
#include "os/fd.h"

namespace upkeep::native {

Result<void> join_groups(os::Fd fd, const Socket& socket);

}  // namespace upkeep::native
