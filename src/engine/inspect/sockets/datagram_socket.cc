#include "engine/inspect/sockets/datagram_socket.h"

#include <linux/udp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/sockios.h>
#include <algorithm>

#include "engine/inspect/calls/look.h"
#include "engine/inspect/calls/reason.h"
#include "engine/inspect/sockets/memberships.h"
#include "engine/inspect/sockets/socket_questions.h"
#include "engine/inspect/sockets/unread_messages.h"

namespace upkeep::engine {
namespace {

bool shares_its_port(const Socket& socket) {
  for (const auto& option : socket.options) {
    if (option.level == SOL_SOCKET && (option.name == SO_REUSEPORT || option.name == SO_REUSEADDR))
      return true;
  }
  return false;
}

// A message is put back by sending it once more: to one's own address, with the sender's.
bool can_be_sent_again(const Bytes& from) {
  in6_addr address = {};
  constexpr std::size_t kBegin = offsetof(sockaddr_in6, sin6_addr);
  if (from.data.size() < sizeof(sockaddr_in6)) return from.data.size() == sizeof(sockaddr_in);
  std::copy_n(from.data.begin() + kBegin, sizeof address, reinterpret_cast<std::uint8_t*>(&address));
  return !IN6_IS_ADDR_LINKLOCAL(&address);
}

bool is_bound_to_interface(const Socket& socket) {
  for (const auto& option : socket.options) {
    if (option.level == SOL_SOCKET && option.name == SO_BINDTODEVICE) return true;
  }
  return !socket.interface.empty();
}

bool is_multicast(const Bytes& local) {
  if (local.data.size() == sizeof(sockaddr_in))
    return local.data[offsetof(sockaddr_in, sin_addr)] >> 4U == 0xe;
  return local.data.size() >= sizeof(sockaddr_in6) && local.data[offsetof(sockaddr_in6, sin6_addr)] == 0xff;
}

Result<void> read_datagrams(SocketReading& reading) {
  auto& socket = reading.socket;
  const auto events = events_now(reading.fd);
  if ((events & POLLERR) != 0) {
    reading.refuse("an error in it has not been looked at", "try again");  // looking on would take it
    return {};
  }
  if (events != 0) TRY(read_unread_messages(reading));
  if (socket.unread.empty()) return {};
  bool again = !shares_its_port(socket) && !is_bound_to_interface(socket) && !is_multicast(socket.local);
  for (const auto& message : socket.unread) again = again && can_be_sent_again(message.from);
  if (!again) reading.refuse("datagrams that it has not read could not be delivered to it again", kTryAgain);
  return {};
}

}  // namespace

Result<void> read_datagram_socket(SocketReading& reading) {
  auto& socket = reading.socket;
  TRY(read_remote_name(reading));
  TRY(read_memberships(reading));
  if (socket.protocol == IPPROTO_UDP && socket.type == SOCK_DGRAM) {
    if (number_option(reading.fd, IPPROTO_UDP, UDP_CORK) == 1)
      reading.refuse("a datagram is being put together (UDP_CORK)");
    if (number_option(reading.fd, IPPROTO_UDP, UDP_ENCAP) > 0)
      reading.refuse("the kernel takes packets out of it for a tunnel (UDP_ENCAP)");
    return stand_still(reading.tasks) ? read_datagrams(reading) : Result<void>();
  }
  // Without a port getpeername(2) does not call it connected.
  if (socket.remote.data.empty()) TRY(read_listed_remote(reading, socket.type == SOCK_RAW ? "raw" : "icmp"));
  // What a raw socket, or one for ICMP, has been sent is gone when it is too late for it.
  if (stand_still(reading.tasks) && (events_now(reading.fd) & POLLIN) != 0) reading.refuse_unread_packets();
  return {};
}

}  // namespace upkeep::engine
