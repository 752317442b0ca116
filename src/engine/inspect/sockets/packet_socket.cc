#include "engine/inspect/sockets/packet_socket.h"

#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "engine/inspect/calls/look.h"
#include "engine/inspect/sockets/socket_questions.h"
#include "os/netlink.h"

namespace upkeep::engine {
namespace {

void add_memberships(const os::NetlinkAttribute* list, Socket& socket) {
  packet_diag_mclist one = {};
  for (std::size_t at = 0; list != nullptr && at + sizeof one <= list->payload().size(); at += sizeof one) {
    std::memcpy(&one, list->payload().data() + at, sizeof one);
    PacketMembership membership;
    membership.interface = interface_name(one.pdmc_index);
    membership.type = one.pdmc_type;
    membership.count = one.pdmc_count;
    const auto length = std::min<std::size_t>(one.pdmc_alen, sizeof one.pdmc_addr);
    membership.address.data.assign(one.pdmc_addr, one.pdmc_addr + length);
    socket.packet_memberships.push_back(std::move(membership));
  }
}

// A question about one socket has to name its cookie: all are asked about.
Result<void> ask_packet_diag(SocketReading& reading) {
  TRY_ASSIGN(auto netlink, os::NetlinkSocket::open(NETLINK_SOCK_DIAG));
  packet_diag_req request = {};
  request.sdiag_family = AF_PACKET;
  request.pdiag_show = PACKET_SHOW_INFO | PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT;
  bool found = false;
  auto& socket = reading.socket;
  TRY_IN("asking packet_diag",
         netlink.query(os::NetlinkRequest(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request),
                       [&](const os::NetlinkReply& reply) -> Result<void> {
                         TRY_ASSIGN(const auto header, reply.header<packet_diag_msg>());
                         if (header.pdiag_ino != socket.inode) return {};
                         found = true;
                         const auto attributes = reply.attributes<packet_diag_msg>();
                         socket.packet_memberships.clear();
                         add_memberships(attributes.find(PACKET_DIAG_MCLIST), socket);
                         if (attributes.find(PACKET_DIAG_RX_RING) != nullptr ||
                             attributes.find(PACKET_DIAG_TX_RING) != nullptr)
                           reading.refuse("it has a ring of packets (PACKET_RX_RING, PACKET_TX_RING)");
                         if (attributes.find(PACKET_DIAG_FANOUT) != nullptr)
                           reading.refuse("it shares packets with other sockets (PACKET_FANOUT)");
                         return {};
                       }));
  if (!found) return Err("packet_diag does not know it");
  return {};
}

}  // namespace

Result<void> read_packet_socket(SocketReading& reading) {
  auto& socket = reading.socket;
  sockaddr_ll address = {};
  if (socket.local.data.size() < offsetof(sockaddr_ll, sll_addr))
    return Err("it does not say what it is bound to");
  std::memcpy(&address, socket.local.data.data(), std::min(socket.local.data.size(), sizeof address));
  if (address.sll_ifindex != 0) {
    socket.interface = interface_name(static_cast<std::uint32_t>(address.sll_ifindex));
    if (socket.interface.empty()) reading.refuse("its interface has gone");
  }
  TRY(ask_packet_diag(reading));
  if (stand_still(reading.tasks) && (events_now(reading.fd) & POLLIN) != 0) reading.refuse_unread_packets();
  return {};
}

}  // namespace upkeep::engine
