#include "engine/rebuild/sockets/packet_socket.h"

#include <linux/if_packet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace upkeep::engine {

// What binding takes of the name of a packet socket: no address of its own.
Result<void> bind_packet_socket(os::Fd fd, const Socket& socket) {
  sockaddr_ll address = {};
  std::memcpy(&address, socket.local.data.data(), std::min(socket.local.data.size(), sizeof address));
  if (address.sll_protocol == 0 && address.sll_ifindex == 0) return {};
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    return ErrnoErr("bind");
  return {};
}

}  // namespace upkeep::engine
