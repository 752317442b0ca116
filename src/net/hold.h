#pragma once
// The network held closed. While it is, no IPv4 or IPv6 packet reaches a socket of this network namespace or
// leaves one: TCP, UDP, ICMP, loopback and forwarded ones alike. Peers see silence, as if a cable were out
// for a moment: nothing is refused, reset or acknowledged, so connections wait and go on.
//
// Held in the old kernel from the moment when all carried tasks stand still, before any socket's queue is
// read: a socket still acknowledges what arrives while its queues are being read, and what it acknowledged
// then would be lost. Held in the new kernel before the first link goes up, until all sockets are back: a
// segment that finds no socket is answered by a reset.
//
// How: one nf_tables table of family inet, `upkeep-hold`, with two base chains of policy drop, at a priority
// before connection tracking and every usual rule, made in one transaction. All that they let pass are
// datagrams that are put back into their sockets (os/put_back_mark.h). It stays if upkeep dies:
// release_network() of any later process opens the network again. Idempotent: holding it twice adds nothing
// that matters.
//
// Not covered, because it is below IP: ARP (whoever asks for our address is answered; neighbours keep their
// entries) and frames that a bridge passes on. IPv6 neighbour discovery is ICMPv6 and is dropped. AF_PACKET
// sockets see incoming frames and send as they like.
//
// Kernel modules, where they are not built in: nfnetlink, nf_tables. (The inet family is part of nf_tables in
// 6.1 to 7.3; NFT_CHAIN filter of inet too.) The new kernel's initramfs needs both. CAP_NET_ADMIN.

#include <string>
#include <vector>

#include "common/result.h"
#include "os/netlink.h"

namespace upkeep::net {

inline constexpr const char* kHoldTable = "upkeep-hold";

// Idempotent. Returns when packets that were on their way through the stack have arrived: from then on none
// does.
Result<void> hold_network();
// Idempotent too: where nothing is held, and where the kernel has no nf_tables, there is nothing to do.
Result<void> release_network();
Result<bool> network_is_held();

// The same for a namespace that only carried tasks are in, for as long as this lives and no longer: it is
// open again when this process ends, however it does (a table with an owner, Linux 5.12).
class NamespaceHold {
 public:
  // Of the calling thread.
  static Result<NamespaceHold> begin();

 private:
  explicit NamespaceHold(os::NetlinkSocket socket) : socket_(std::move(socket)) {}
  os::NetlinkSocket socket_;
};

}  // namespace upkeep::net
