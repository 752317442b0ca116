#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "net/links.h"

namespace upkeep::net {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// What a user sets; the other flags are state or the driver's.
constexpr std::uint32_t kOwnFlags =
    IFF_UP | IFF_PROMISC | IFF_ALLMULTI | IFF_NOARP | IFF_MULTICAST | IFF_DYNAMIC;

const Link* now(const Link& link, const Indexes& indexes, const std::vector<Link>& found) {
  auto index = indexes.find(link.index);
  return index == indexes.end() ? nullptr : link_by_index(found, index->second);
}

}  // namespace

Result<std::vector<std::string>> put_flags(os::NetlinkSocket& socket, const std::vector<Link>& wanted,
                                           const Indexes& indexes) {
  TRY_ASSIGN(const auto found, read_links(socket));
  std::vector<std::string> warnings;
  for (const Link* link : lower_first(wanted)) {
    const Link* there = now(*link, indexes, found);
    if (!there || ((there->flags ^ link->flags) & kOwnFlags) == 0) continue;
    ifinfomsg header = {};
    header.ifi_index = there->index;
    header.ifi_flags = link->flags & kOwnFlags;
    header.ifi_change = kOwnFlags;
    auto done = socket.send(os::NetlinkRequest(RTM_NEWLINK, 0, header));
    if (!done) warnings.push_back(fmt::format("flags of link {}: {}", link->name, done.error().message()));
  }
  return warnings;
}

Result<std::vector<std::string>> wait_for_carriers(os::NetlinkSocket& socket, const std::vector<Link>& wanted,
                                                   const Indexes& indexes, milliseconds timeout) {
  TRY_ASSIGN(auto events, os::NetlinkSocket::open(NETLINK_ROUTE));
  TRY(events.join(RTNLGRP_LINK));
  const auto end = Clock::now() + timeout;
  for (;;) {
    TRY_ASSIGN(const auto found, read_links(socket));
    std::vector<std::string> without;
    for (const auto& link : wanted) {
      const Link* there = now(link, indexes, found);
      if (there && (link.flags & ~there->flags & IFF_RUNNING) != 0) without.push_back(link.name);
    }
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    if (without.empty() || left.count() <= 0) return without;
    TRY(events.wait(left, [](const os::NetlinkReply&) -> Result<void> { return {}; }));
  }
}

Result<std::vector<std::string>> start_spanning_trees(os::NetlinkSocket& socket,
                                                      const std::vector<Link>& wanted,
                                                      const Indexes& indexes) {
  TRY_ASSIGN(const auto found, read_links(socket));
  std::vector<std::string> warnings;
  for (const auto& link : wanted) {
    const Link* there = now(link, indexes, found);
    if (!there || link.kind != "bridge") continue;
    for (const auto& setting : link.kind_data) {
      if (setting.type != IFLA_BR_STP_STATE || has_setting(there->kind_data, setting)) continue;
      auto done = socket.send(bridge_setting(there->index, setting));
      if (!done)
        warnings.push_back(fmt::format("spanning tree of bridge {}: {}", link.name, done.error().message()));
    }
  }
  return warnings;
}

Result<void> put_states(os::NetlinkSocket& socket, const std::vector<Link>& wanted, const Indexes& indexes) {
  TRY_ASSIGN(const auto found, read_links(socket));
  for (const auto& link : wanted) {
    const Link* there = now(link, indexes, found);
    if (!there || link.state != IF_OPER_UP || there->state != IF_OPER_UNKNOWN) continue;
    auto request = change_link(there->index);
    request.number(IFLA_OPERSTATE, link.state);
    // Both states pass packets: what is refused here is missed by nobody.
    (void)socket.send(std::move(request));
  }
  return {};
}

}  // namespace upkeep::net
