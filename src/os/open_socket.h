#pragma once
// socket(2), also where icmp(7) lets nobody.

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// Closed on exec. Whom the kernel lets make sockets for echo requests is a range of groups, which has nobody
// in it before somebody has set it: it is widened for the moment.
Result<UniqueFd> open_socket(int family, int type, int protocol);

}  // namespace upkeep::os
