#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <set>

#include "net/links.h"
#include "net/messages.h"
#include "net/snapshot.h"
#include "net/sysctl.h"

namespace upkeep::net {
namespace {

constexpr std::uint8_t kAddressFamilies[] = {AF_INET, AF_INET6};

template <typename Header, typename Parse>
Result<void> dump(os::NetlinkSocket& socket, std::uint16_t type, const Header& header, std::uint16_t answer,
                  Parse parse) {
  return socket.query(os::NetlinkRequest(type, NLM_F_DUMP, header),
                      [&](const os::NetlinkReply& reply) -> Result<void> {
                        return reply.type == answer ? parse(reply) : Result<void>{};
                      });
}

}  // namespace

Result<std::vector<Address>> read_addresses(os::NetlinkSocket& socket) {
  std::vector<Address> addresses;
  TRY_IN("read addresses",
         dump(socket, RTM_GETADDR, ifaddrmsg{}, RTM_NEWADDR, [&](const auto& reply) -> Result<void> {
           TRY_ASSIGN(auto address, parse_address(reply));
           if (address.family == AF_INET || address.family == AF_INET6)
             addresses.push_back(std::move(address));
           return {};
         }));
  return addresses;
}

Result<std::vector<Route>> read_routes(os::NetlinkSocket& socket) {
  std::vector<Route> routes;
  for (std::uint8_t family : kAddressFamilies) {
    rtmsg header = {};
    header.rtm_family = family;
    TRY_IN("read routes",
           dump(socket, RTM_GETROUTE, header, RTM_NEWROUTE, [&](const auto& reply) -> Result<void> {
             TRY_ASSIGN(auto route, parse_route(reply));
             // A kernel without IPv6 answers the question for it with the other family's.
             if (route && route->family == family) routes.push_back(std::move(*route));
             return {};
           }));
  }
  return routes;
}

Result<std::vector<Rule>> read_rules(os::NetlinkSocket& socket) {
  std::vector<Rule> rules;
  for (std::uint8_t family : kAddressFamilies) {
    fib_rule_hdr header = {};
    header.family = family;
    auto dumped = dump(socket, RTM_GETRULE, header, RTM_NEWRULE, [&](const auto& reply) -> Result<void> {
      TRY_ASSIGN(auto rule, parse_rule(reply));
      if (rule.family == family) rules.push_back(std::move(rule));
      return {};
    });
    if (!dumped && dumped.error().code() == EAFNOSUPPORT) continue;  // no policy routing in this kernel
    TRY_IN("read rules", dumped);
  }
  return rules;
}

Result<std::vector<Neighbour>> read_neighbours(os::NetlinkSocket& socket) {
  std::vector<Neighbour> neighbours;
  for (std::uint8_t flags : {std::uint8_t{0}, std::uint8_t{NTF_PROXY}}) {
    ndmsg header = {};
    header.ndm_flags = flags;
    TRY_IN("read neighbours",
           dump(socket, RTM_GETNEIGH, header, RTM_NEWNEIGH, [&](const auto& reply) -> Result<void> {
             TRY_ASSIGN(auto neighbour, parse_neighbour(reply));
             if (neighbour) neighbours.push_back(std::move(*neighbour));
             return {};
           }));
  }
  return neighbours;
}

Result<Snapshot> take_snapshot(const std::vector<Sysctl>& known_sysctls) {
  TRY_ASSIGN(auto socket, os::NetlinkSocket::open(NETLINK_ROUTE));
  Snapshot snapshot;
  TRY_ASSIGN(snapshot.links, read_links(socket));
  TRY_ASSIGN(snapshot.addresses, read_addresses(socket));
  TRY_ASSIGN(snapshot.routes, read_routes(socket));
  TRY_ASSIGN(snapshot.rules, read_rules(socket));
  TRY_ASSIGN(snapshot.neighbours, read_neighbours(socket));
  snapshot.sysctls = known_sysctls;
  if (known_sysctls.empty()) {
    TRY_ASSIGN(snapshot.sysctls, read_sysctls());
  }
  return snapshot;
}

std::vector<std::string> modules_of(const Snapshot& snapshot) {
  std::set<std::string> modules;
  for (const auto& link : snapshot.links) {
    if (link.kind == "vlan") modules.insert("8021q");
    if (link.kind == "bridge" || link.kind == "dummy" || link.kind == "veth") modules.insert(link.kind);
    if (!link.qdisc.empty() && link.qdisc != "noqueue" && link.qdisc != "noop")
      modules.insert("sch_" + link.qdisc);
  }
  for (const auto& sysctl : snapshot.sysctls) {
    if (sysctl.path == "ipv4/tcp_congestion_control") modules.insert("tcp_" + sysctl.value);
    if (sysctl.path == "core/default_qdisc") modules.insert("sch_" + sysctl.value);
  }
  // Built into every kernel's core.
  for (const char* always : {"sch_pfifo_fast", "sch_mq", "sch_pfifo", "sch_bfifo", "tcp_reno"})
    modules.erase(always);
  return {modules.begin(), modules.end()};
}

}  // namespace upkeep::net
