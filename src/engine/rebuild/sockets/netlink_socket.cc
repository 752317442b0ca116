#include "engine/rebuild/sockets/netlink_socket.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "engine/rebuild/sockets/socket_options.h"
#include "os/tcp_repair.h"

namespace upkeep::engine {

// Groups are joined one by one: an address has room for 32 of them.
Result<void> bind_netlink_socket(os::Fd fd, const Socket& socket) {
  sockaddr_nl address = {};
  std::memcpy(&address, socket.local.data.data(), std::min(socket.local.data.size(), sizeof address));
  address.nl_groups = 0;
  if (address.nl_pid != 0 &&
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    return ErrnoErr("bind to port {}", address.nl_pid);
  for (const auto group : socket.netlink_groups)
    TRY(os::set_socket_option(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group, "NETLINK_ADD_MEMBERSHIP"));
  std::memcpy(&address, socket.remote.data.data(), std::min(socket.remote.data.size(), sizeof address));
  return address.nl_pid == 0 && address.nl_groups == 0 ? Result<void>() : connect_to_remote(fd, socket);
}

}  // namespace upkeep::engine
