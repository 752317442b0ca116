#include "net/settle.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "net/links.h"
#include "net/sysctl.h"

namespace upkeep::net {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

bool called_for(const Address& now, const Snapshot& snapshot, const Indexes& indexes) {
  return std::any_of(snapshot.addresses.begin(), snapshot.addresses.end(), [&](const Address& address) {
    auto link = indexes.find(address.link);
    return link != indexes.end() && same_place(address, now, link->second);
  });
}

// A link-local address that the kernel made as soon as there was a carrier, where the old one had another or
// none.
Result<void> remove_uncalled_addresses(os::NetlinkSocket& socket, const Snapshot& snapshot,
                                       const Indexes& indexes, std::vector<std::string>& warnings) {
  TRY_ASSIGN(const auto found, read_addresses(socket));
  for (const auto& now : found) {
    const bool ours = std::any_of(indexes.begin(), indexes.end(),
                                  [&](const auto& pair) { return pair.second == now.link; });
    if (now.family != AF_INET6 || now.scope != RT_SCOPE_LINK || !ours) continue;
    if (called_for(now, snapshot, indexes)) continue;
    auto done = socket.send(address_request(RTM_DELADDR, 0, now, now.link));
    if (!done) warnings.push_back(fmt::format("remove address {}: {}", now.local, done.error().message()));
  }
  return {};
}

// Whether an address that was put back cannot be used yet, though its link can.
bool undecided(const Address& now, const std::vector<Link>& links) {
  const Link* link = link_by_index(links, now.link);
  const bool waiting = (now.flags & IFA_F_TENTATIVE) != 0 && (now.flags & IFA_F_DADFAILED) == 0;
  return now.family == AF_INET6 && waiting && link != nullptr && (link->flags & IFF_RUNNING) != 0;
}

// Detection of duplicates is switched off, but a work queue of the kernel's looks at that some time after the
// carrier came: not before it has may it be switched on again. Bounded by what detection itself would take.
Result<void> wait_for_addresses(os::NetlinkSocket& socket, const Snapshot& snapshot, const Indexes& indexes) {
  const auto end = Clock::now() + std::chrono::seconds(2);
  TRY_ASSIGN(auto events, os::NetlinkSocket::open(NETLINK_ROUTE));
  TRY(events.join(RTNLGRP_IPV6_IFADDR));
  // An empty change of a link takes the lock under which the kernel reacts to carriers: afterwards it has.
  for (const auto& [before, index] : indexes) (void)socket.send(change_link(index));
  for (;;) {
    TRY_ASSIGN(const auto links, read_links(socket));
    TRY_ASSIGN(const auto found, read_addresses(socket));
    const bool waiting = std::any_of(found.begin(), found.end(), [&](const Address& now) {
      return undecided(now, links) && called_for(now, snapshot, indexes);
    });
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    if (!waiting || left.count() <= 0) return {};
    TRY(events.wait(left, [](const os::NetlinkReply&) -> Result<void> { return {}; }));
  }
}

}  // namespace

bool same_place(const Address& wanted, const Address& now, int link) {
  return now.link == link && now.family == wanted.family && now.local == wanted.local &&
         now.prefix == wanted.prefix && now.peer == wanted.peer;
}

std::vector<Route> routes_now(const Snapshot& snapshot, const Indexes& indexes) {
  std::vector<Route> routes;
  for (const auto& route : snapshot.routes) {
    if (auto mapped = with_indexes(route, indexes)) routes.push_back(std::move(*mapped));
  }
  return routes;
}

Result<void> remove_uncalled_routes(os::NetlinkSocket& socket, const std::vector<Route>& wanted,
                                    std::vector<std::string>& warnings) {
  TRY_ASSIGN(const auto found, read_routes(socket));
  for (const auto& now : found) {
    if (now.protocol != RTPROT_KERNEL) continue;
    const bool called =
        std::any_of(wanted.begin(), wanted.end(), [&](const Route& route) { return same_route(route, now); });
    if (called) continue;
    auto done = socket.send(route_request(RTM_DELROUTE, 0, now));
    if (!done) warnings.push_back(fmt::format("remove route {}: {}", now.text, done.error().message()));
  }
  return {};
}

Result<std::vector<std::string>> settle_links(const Snapshot& snapshot, milliseconds wait_for_carrier) {
  TRY_ASSIGN(auto socket, os::NetlinkSocket::open(NETLINK_ROUTE));
  TRY_ASSIGN(const auto found, read_links(socket));
  const Indexes indexes = pair_links(snapshot.links, found).now;
  std::vector<std::string> warnings;
  TRY_ASSIGN(const auto without, wait_for_carriers(socket, snapshot.links, indexes, wait_for_carrier));
  if (!without.empty()) {
    warnings.push_back(
        fmt::format("no carrier after {} ms: {}", wait_for_carrier.count(), fmt::join(without, ", ")));
  }
  TRY(wait_for_addresses(socket, snapshot, indexes));
  TRY(remove_uncalled_addresses(socket, snapshot, indexes, warnings));
  TRY(remove_uncalled_routes(socket, routes_now(snapshot, indexes), warnings));
  TRY(put_states(socket, snapshot.links, indexes));
  TRY_ASSIGN(auto trees, start_spanning_trees(socket, snapshot.links, indexes));
  for (auto& warning : trees) warnings.push_back(std::move(warning));
  // Links that were not there have no such file: unknown is no warning here.
  auto result = write_sysctls(snapshot.sysctls, is_accept_dad);
  for (auto& refused : result.refused) warnings.push_back("sysctl " + std::move(refused));
  return warnings;
}

}  // namespace upkeep::net
