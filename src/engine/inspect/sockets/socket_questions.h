#pragma once
// What is asked of a socket of any family.

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"
#include "engine/inspect/sockets/socket_reading.h"
#include "os/fd.h"

namespace upkeep::engine {

int number_option(os::Fd fd, int level, int name);  // -1: there is none
short events_now(os::Fd fd);  // POLLIN, POLLRDHUP, POLLERR, POLLHUP; takes no error away
Result<void> read_remote_name(SocketReading& reading);
// Of an IPv4 or IPv6 socket that getpeername(2) does not answer for: from LIST of /proc/net ("tcp", "raw",
// "icmp").
Result<void> read_listed_remote(SocketReading& reading, std::string_view list);
// Of numbers of interfaces; "": there is none with that number.
std::string interface_name(std::uint32_t number);

}  // namespace upkeep::engine
