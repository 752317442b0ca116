#include "engine/rebuild/sockets/memberships.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "os/tcp_repair.h"

namespace upkeep::engine {
namespace {

Result<std::uint32_t> number_of_interface(const std::string& name) {
  const std::uint32_t number = ::if_nametoindex(name.c_str());
  if (number == 0) return ErrnoErr("interface {}", name);
  return number;
}

sockaddr_storage address_of(const Bytes& bytes) {
  sockaddr_storage address = {};
  std::memcpy(&address, bytes.data.data(), std::min(bytes.data.size(), sizeof address));
  return address;
}

// From everybody but some, or from some only.
Result<void> join(os::Fd fd, int level, const Membership& membership) {
  TRY_ASSIGN(const auto interface, number_of_interface(membership.interface));
  if (membership.all_but) {
    const group_req wanted = {interface, address_of(membership.group)};
    TRY(os::set_socket_option(fd, level, MCAST_JOIN_GROUP, wanted, "MCAST_JOIN_GROUP"));
  }
  const int each = membership.all_but ? MCAST_BLOCK_SOURCE : MCAST_JOIN_SOURCE_GROUP;
  for (const auto& source : membership.sources) {
    const group_source_req wanted = {interface, address_of(membership.group), address_of(source)};
    TRY(os::set_socket_option(fd, level, each, wanted, "a source of a multicast group"));
  }
  return {};
}

Result<void> join(os::Fd fd, const PacketMembership& membership) {
  TRY_ASSIGN(const auto interface, number_of_interface(membership.interface));
  packet_mreq wanted = {};
  wanted.mr_ifindex = static_cast<int>(interface);
  wanted.mr_type = static_cast<unsigned short>(membership.type);
  wanted.mr_alen =
      static_cast<unsigned short>(std::min(membership.address.data.size(), sizeof wanted.mr_address));
  std::memcpy(wanted.mr_address, membership.address.data.data(), wanted.mr_alen);
  for (std::uint32_t i = 0; i < membership.count; ++i)
    TRY(os::set_socket_option(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, wanted, "PACKET_ADD_MEMBERSHIP"));
  return {};
}

}  // namespace

Result<void> join_groups(os::Fd fd, const Socket& socket) {
  const int level = socket.family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  for (const auto& membership : socket.memberships) TRY_IN(membership.interface, join(fd, level, membership));
  for (const auto& membership : socket.packet_memberships) TRY_IN(membership.interface, join(fd, membership));
  return {};
}

}  // namespace upkeep::engine
