#pragma once
// socket(2), also where icmp(7) lets nobody.

#include <cstdint>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// Closed on exec. Whom the kernel lets make sockets for echo requests is a range of groups, which has nobody
// in it before somebody has set it: it is widened for the moment.
Result<UniqueFd> open_socket(int family, int type, int protocol);

// Of the network namespace that a socket belongs to (SO_NETNS_COOKIE): no two have the same one. 0: the
// kernel does not tell (before 5.14).
std::uint64_t network_cookie(Fd socket);

}  // namespace upkeep::os
