#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>

#include "net/hold.h"
#include "net/links.h"
#include "net/snapshot.h"
#include "os/file.h"

namespace upkeep::net {
namespace {

using Findings = std::vector<Finding>;
using Severity = Finding::Severity;

bool names_link(const Route& route, int index) {
  for (const auto& attribute : route.attributes) {
    if (attribute.type != RTA_OIF || attribute.bytes.size() != sizeof index) continue;
    return std::memcmp(attribute.bytes.data(), &index, sizeof index) == 0;
  }
  return false;
}

bool has_gateway(const Route& route) {
  return std::any_of(route.attributes.begin(), route.attributes.end(),
                     [](const Attribute& a) { return a.type == RTA_GATEWAY || a.type == RTA_VIA; });
}

// The machine is reached through it, or a link that is put back needs it.
bool carries_others(const Link& link, const std::vector<Link>& links, const std::vector<Route>& routes) {
  const bool routed = std::any_of(routes.begin(), routes.end(), [&](const Route& r) {
    return has_gateway(r) && names_link(r, link.index);
  });
  const bool below = std::any_of(links.begin(), links.end(), [&](const Link& other) {
    return other.kind == "vlan" && !other.lower_elsewhere && other.lower == link.index;
  });
  const bool master =
      std::any_of(links.begin(), links.end(), [&](const Link& other) { return other.master == link.index; });
  return routed || below || master;
}

void check_link(const Link& link, const std::vector<Link>& links, const std::vector<Route>& routes,
                Findings& findings) {
  if (made_by_module(link)) return;
  if (!kind_supported(link.kind)) {
    const bool needed = (link.flags & IFF_UP) != 0 && carries_others(link, links, routes);
    findings.push_back(
        {needed ? Severity::refusal : Severity::warning,
         fmt::format("link {} of kind {}", link.name, link.kind), "cannot be put back in this version",
         needed ? "take it down, or use another way to the network"
                : "whatever made it makes it again after the upgrade; connections through it end"});
    return;
  }
  if (link.kind == "veth" && link.lower_elsewhere) {
    findings.push_back({Severity::warning,
                        fmt::format("link {}: its other end is in another network namespace", link.name),
                        "namespaces' links are not put back in this version",
                        "whatever made the namespace makes it again after the upgrade"});
  }
  if (link.physical() && link.bus.empty() && link.permanent_address.empty()) {
    findings.push_back(
        {Severity::warning,
         fmt::format("link {} has neither a permanent address nor a place on a bus", link.name),
         "the new kernel's device is recognised by its address or name", ""});
  }
  const bool filtering = std::any_of(link.kind_data.begin(), link.kind_data.end(), [](const Attribute& a) {
    return a.type == IFLA_BR_VLAN_FILTERING && !a.bytes.empty() && a.bytes[0] != 0;
  });
  if (link.kind == "bridge" && filtering) {
    findings.push_back({Severity::warning, fmt::format("bridge {} filters by VLAN", link.name),
                        "the ports' VLANs are not put back in this version",
                        "set them again after the upgrade"});
  }
}

Result<void> check_queues(os::NetlinkSocket& socket, const std::vector<Link>& links, Findings& findings) {
  std::set<std::string> found;
  tcmsg header = {};
  TRY(socket.query(os::NetlinkRequest(RTM_GETQDISC, NLM_F_DUMP, header),
                   [&](const os::NetlinkReply& reply) -> Result<void> {
                     if (reply.type != RTM_NEWQDISC) return {};
                     TRY_ASSIGN(const auto queue, reply.header<tcmsg>());
                     // Those that the kernel chose have no handle; whoever asks for one gets one.
                     if (queue.tcm_handle == 0) return {};
                     const Link* link = link_by_index(links, queue.tcm_ifindex);
                     if (link)
                       found.insert(
                           fmt::format("{} on {}", reply.attributes<tcmsg>().text(TCA_KIND), link->name));
                     return {};
                   }));
  for (const auto& queue : found) {
    findings.push_back({Severity::warning, fmt::format("queueing discipline {}", queue),
                        "only default ones are put back in this version",
                        "run what set it again after the upgrade"});
  }
  return {};
}

// How many answers a dump has; 0 where the kernel does not know the question.
std::size_t count(int protocol, const os::NetlinkRequest& request, std::uint16_t answer,
                  const std::function<bool(const os::NetlinkReply&)>& counts) {
  auto socket = os::NetlinkSocket::open(protocol);
  if (!socket) return 0;
  std::size_t number = 0;
  auto done = socket->query(request, [&](const os::NetlinkReply& reply) -> Result<void> {
    if (reply.type == answer && counts(reply)) ++number;
    return {};
  });
  return done ? number : 0;
}

void check_firewall(Findings& findings) {
  constexpr auto kGet = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE);
  constexpr auto kNew = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE);
  const nfgenmsg header = {AF_UNSPEC, NFNETLINK_V0, 0};
  const auto tables =
      count(NETLINK_NETFILTER, {kGet, NLM_F_DUMP, header}, kNew, [](const os::NetlinkReply& reply) {
        return reply.attributes<nfgenmsg>().text(NFTA_TABLE_NAME) != kHoldTable;
      });
  const bool legacy = !os::read_file("/proc/thread-self/net/ip_tables_names").value_or("").empty() ||
                      !os::read_file("/proc/thread-self/net/ip6_tables_names").value_or("").empty();
  if (tables > 0 || legacy) {
    findings.push_back(
        {Severity::warning, "firewall rules are in use",
         "they are not carried: between the restore and the start of the unit that loads them there are none",
         "see that a unit loads them at boot (nftables.service)"});
  }
  auto connections = os::read_file("/proc/sys/net/netfilter/nf_conntrack_count").value_or("0");
  if (!connections.empty() && connections[0] != '0') {
    findings.push_back({Severity::warning, "connection tracking is in use",
                        "its table is not carried: forwarded connections with address translation end", ""});
  }
}

void check_others(Findings& findings) {
  auto any = [](const os::NetlinkReply&) { return true; };
  const auto hops = count(NETLINK_ROUTE, {RTM_GETNEXTHOP, NLM_F_DUMP, nhmsg{}}, RTM_NEWNEXTHOP, any);
  if (hops > 0) {
    findings.push_back({Severity::warning, fmt::format("{} nexthop objects", hops),
                        "routes through them are put back as plain ones",
                        "run what set them again after the upgrade"});
  }
  const os::NetlinkRequest policies(XFRM_MSG_GETPOLICY, NLM_F_DUMP, xfrm_userpolicy_id{});
  if (count(NETLINK_XFRM, policies, XFRM_MSG_NEWPOLICY, any) > 0) {
    findings.push_back({Severity::refusal, "IPsec policies are in use",
                        "they are not carried, and without them traffic would go out in clear",
                        "stop IPsec before the upgrade"});
  }
}

}  // namespace

Result<std::vector<Finding>> check_namespace() {
  TRY_ASSIGN(auto socket, os::NetlinkSocket::open(NETLINK_ROUTE));
  TRY_ASSIGN(const auto links, read_links(socket));
  TRY_ASSIGN(const auto routes, read_routes(socket));
  Findings findings;
  for (const auto& link : links) check_link(link, links, routes, findings);
  TRY(check_queues(socket, links, findings));
  check_firewall(findings);
  check_others(findings);
  return findings;
}

Result<std::vector<Finding>> check() {
  TRY_ASSIGN(auto findings, check_namespace());
  auto held = network_is_held();
  if (held && *held) {
    findings.push_back({Severity::warning, "the network is held closed",
                        "an earlier upgrade did not end properly", "upkeep undoes it when it runs next"});
  }
  if (findings.empty()) {
    TRY_ASSIGN(auto socket, os::NetlinkSocket::open(NETLINK_ROUTE));
    TRY_ASSIGN(const auto links, read_links(socket));
    TRY_ASSIGN(const auto routes, read_routes(socket));
    findings.push_back(
        {Severity::ok,
         fmt::format("network: {} links and {} routes can be put back", links.size(), routes.size()), "",
         ""});
  }
  return findings;
}

}  // namespace upkeep::net
