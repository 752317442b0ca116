#include "net/messages.h"

#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_vlan.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

namespace upkeep::net {
namespace {

// What `ip link` may set on a bridge, a bridge port and a VLAN; the rest of what is dumped is state.
const std::set<std::uint16_t> kBridgeSettings = {
    IFLA_BR_FORWARD_DELAY,       IFLA_BR_HELLO_TIME,         IFLA_BR_MAX_AGE,
    IFLA_BR_AGEING_TIME,         IFLA_BR_STP_STATE,          IFLA_BR_PRIORITY,
    IFLA_BR_VLAN_FILTERING,      IFLA_BR_VLAN_PROTOCOL,      IFLA_BR_GROUP_FWD_MASK,
    IFLA_BR_MCAST_ROUTER,        IFLA_BR_MCAST_SNOOPING,     IFLA_BR_MCAST_QUERY_USE_IFADDR,
    IFLA_BR_MCAST_QUERIER,       IFLA_BR_VLAN_DEFAULT_PVID,  IFLA_BR_VLAN_STATS_ENABLED,
    IFLA_BR_MCAST_STATS_ENABLED, IFLA_BR_VLAN_STATS_PER_PORT};
const std::set<std::uint16_t> kPortSettings = {IFLA_BRPORT_PRIORITY,
                                               IFLA_BRPORT_COST,
                                               IFLA_BRPORT_MODE,
                                               IFLA_BRPORT_GUARD,
                                               IFLA_BRPORT_PROTECT,
                                               IFLA_BRPORT_FAST_LEAVE,
                                               IFLA_BRPORT_LEARNING,
                                               IFLA_BRPORT_UNICAST_FLOOD,
                                               IFLA_BRPORT_PROXYARP,
                                               IFLA_BRPORT_PROXYARP_WIFI,
                                               IFLA_BRPORT_MULTICAST_ROUTER,
                                               IFLA_BRPORT_MCAST_FLOOD,
                                               IFLA_BRPORT_MCAST_TO_UCAST,
                                               IFLA_BRPORT_BCAST_FLOOD,
                                               IFLA_BRPORT_NEIGH_SUPPRESS,
                                               IFLA_BRPORT_ISOLATED};
const std::set<std::uint16_t> kVlanSettings = {IFLA_VLAN_ID, IFLA_VLAN_FLAGS, IFLA_VLAN_EGRESS_QOS,
                                               IFLA_VLAN_INGRESS_QOS, IFLA_VLAN_PROTOCOL};

std::vector<Attribute> only(const os::NetlinkAttributes& attributes, const std::set<std::uint16_t>& wanted) {
  std::vector<Attribute> kept;
  for (const auto& attribute : attributes) {
    if (wanted.contains(attribute.type())) kept.push_back({attribute.type(), attribute.bytes()});
  }
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.type < b.type; });
  return kept;
}

std::vector<Attribute> all_but(const os::NetlinkAttributes& attributes,
                               const std::set<std::uint16_t>& unwanted) {
  std::vector<Attribute> kept;
  for (const auto& attribute : attributes) {
    if (!unwanted.contains(attribute.type())) kept.push_back({attribute.type(), attribute.bytes()});
  }
  std::stable_sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.type < b.type; });
  return kept;
}

// Dumped with a mask of all ones, which the kernel refuses to be given.
std::vector<Attribute> vlan_settings(const os::NetlinkAttributes& data) {
  auto settings = only(data, kVlanSettings);
  for (auto& setting : settings) {
    if (setting.type != IFLA_VLAN_FLAGS || setting.bytes.size() < sizeof(ifla_vlan_flags)) continue;
    ifla_vlan_flags flags = {};
    std::memcpy(&flags, setting.bytes.data(), sizeof flags);
    flags.mask = VLAN_FLAG_REORDER_HDR | VLAN_FLAG_GVRP | VLAN_FLAG_LOOSE_BINDING | VLAN_FLAG_MVRP |
                 VLAN_FLAG_BRIDGE_BINDING;
    flags.flags &= flags.mask;
    setting.bytes = raw(flags);
  }
  return settings;
}

template <typename T>
std::optional<T> from_raw(std::string_view bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

// Calls FIX with each hop of a multipath attribute, which may change it or refuse it; false where one was
// refused or malformed.
bool for_each_hop(std::string& multipath, const std::function<bool(rtnexthop&)>& fix) {
  std::size_t offset = 0;
  while (offset < multipath.size()) {
    auto hop = from_raw<rtnexthop>(std::string_view(multipath).substr(offset));
    if (!hop || hop->rtnh_len < sizeof(rtnexthop) || hop->rtnh_len > multipath.size() - offset) return false;
    if (!fix(*hop)) return false;
    multipath.replace(offset, sizeof(rtnexthop), raw(*hop));
    offset += (hop->rtnh_len + 3U) & ~3U;
  }
  return true;
}

}  // namespace

std::string address_text(int family, std::string_view bytes) {
  const std::size_t size = family == AF_INET ? 4 : 16;
  std::array<char, INET6_ADDRSTRLEN> text = {};
  if (bytes.size() < size || ::inet_ntop(family, bytes.data(), text.data(), text.size()) == nullptr)
    return "";
  return text.data();
}

std::string address_bytes(int family, const std::string& text) {
  std::array<char, 16> bytes = {};
  if (::inet_pton(family, text.c_str(), bytes.data()) != 1) return "";
  return {bytes.data(), family == AF_INET ? std::size_t{4} : std::size_t{16}};
}

std::string hardware_text(std::string_view bytes) {
  std::string text;
  for (char c : bytes)
    text += fmt::format("{}{:02x}", text.empty() ? "" : ":", static_cast<unsigned char>(c));
  return text;
}

std::string hardware_bytes(std::string_view text) {
  std::string bytes;
  while (text.size() >= 2) {
    unsigned char value = 0;
    if (std::from_chars(text.data(), text.data() + 2, value, 16).ptr != text.data() + 2) return "";
    bytes.push_back(static_cast<char>(value));
    text.remove_prefix(std::min<std::size_t>(3, text.size()));
  }
  return bytes;
}

Result<Link> parse_link(const os::NetlinkReply& reply) {
  TRY_ASSIGN(const auto header, reply.header<ifinfomsg>());
  const auto attributes = reply.attributes<ifinfomsg>();
  if (!attributes.whole()) return Err("link {} is cut short", header.ifi_index);
  const auto info = attributes.nested(IFLA_LINKINFO);
  Link link;
  link.name = attributes.text(IFLA_IFNAME);
  link.index = header.ifi_index;
  link.hardware = header.ifi_type;
  link.flags = header.ifi_flags;
  link.state = attributes.number<std::uint8_t>(IFLA_OPERSTATE, 0);
  link.kind = info.text(IFLA_INFO_KIND);
  link.address = hardware_text(attributes.bytes(IFLA_ADDRESS));
  link.permanent_address = hardware_text(attributes.bytes(IFLA_PERM_ADDRESS));
  const std::string parent = attributes.text(IFLA_PARENT_DEV_NAME);
  // virtio devices are numbered in the order of their drivers' loading: no name to recognise one by.
  if (!parent.starts_with("virtio")) link.bus = parent;
  link.mtu = attributes.number<std::uint32_t>(IFLA_MTU, 0);
  link.queue_length = attributes.number<std::uint32_t>(IFLA_TXQLEN, 0);
  link.group = attributes.number<std::uint32_t>(IFLA_GROUP, 0);
  link.alias = attributes.text(IFLA_IFALIAS);
  for (const auto& name : attributes.nested(IFLA_PROP_LIST)) {
    if (name.type() == IFLA_ALT_IFNAME) link.other_names.push_back(name.text());
  }
  std::sort(link.other_names.begin(), link.other_names.end());
  link.master = attributes.number<int>(IFLA_MASTER, 0);
  link.lower = attributes.number<int>(IFLA_LINK, 0);
  link.lower_elsewhere = attributes.find(IFLA_LINK_NETNSID) != nullptr;
  link.qdisc = attributes.text(IFLA_QDISC);
  if (link.kind == "bridge") link.kind_data = only(info.nested(IFLA_INFO_DATA), kBridgeSettings);
  if (link.kind == "vlan") link.kind_data = vlan_settings(info.nested(IFLA_INFO_DATA));
  if (info.text(IFLA_INFO_SLAVE_KIND) == "bridge") {
    link.port_data = only(info.nested(IFLA_INFO_SLAVE_DATA), kPortSettings);
  }
  return link;
}

Result<Address> parse_address(const os::NetlinkReply& reply) {
  TRY_ASSIGN(const auto header, reply.header<ifaddrmsg>());
  const auto attributes = reply.attributes<ifaddrmsg>();
  if (!attributes.whole()) return Err("an address is cut short");
  Address address;
  address.family = header.ifa_family;
  address.link = static_cast<int>(header.ifa_index);
  address.prefix = header.ifa_prefixlen;
  address.scope = header.ifa_scope;
  // IFA_ADDRESS is the far end of a point-to-point pair where IFA_LOCAL is there too, and the address itself
  // otherwise.
  const auto far = attributes.bytes(IFA_ADDRESS), local = attributes.bytes(IFA_LOCAL);
  address.local = address_text(address.family, local.empty() ? far : local);
  if (!local.empty() && !far.empty() && far != local) address.peer = address_text(address.family, far);
  if (address.local.empty()) return Err("an address of link {} has no value", address.link);
  if (attributes.find(IFA_BROADCAST))
    address.broadcast = address_text(address.family, attributes.bytes(IFA_BROADCAST));
  address.label = attributes.text(IFA_LABEL);
  address.flags = attributes.number<std::uint32_t>(IFA_FLAGS, header.ifa_flags);
  address.protocol = attributes.number<std::uint8_t>(IFA_PROTO, 0);
  address.metric = attributes.number<std::uint32_t>(IFA_RT_PRIORITY, 0);
  if (const auto* cache = attributes.find(IFA_CACHEINFO)) {
    if (auto times = cache->as<ifa_cacheinfo>()) {
      address.preferred = times->ifa_prefered;
      address.valid = times->ifa_valid;
    }
  }
  return address;
}

Result<std::optional<Route>> parse_route(const os::NetlinkReply& reply) {
  TRY_ASSIGN(const auto header, reply.header<rtmsg>());
  const auto attributes = reply.attributes<rtmsg>();
  if (!attributes.whole()) return Err("a route is cut short");
  const auto table = attributes.number<std::uint32_t>(RTA_TABLE, header.rtm_table);
  if ((header.rtm_flags & RTM_F_CLONED) != 0 || header.rtm_type == RTN_MULTICAST) return std::nullopt;
  if (header.rtm_family != AF_INET && header.rtm_family != AF_INET6) return std::nullopt;
  // Addresses make these; what somebody added to the local table by hand has another protocol.
  if (table == RT_TABLE_LOCAL && header.rtm_protocol == RTPROT_KERNEL) return std::nullopt;
  Route route;
  route.family = header.rtm_family;
  route.destination_bits = header.rtm_dst_len;
  route.source_bits = header.rtm_src_len;
  route.tos = header.rtm_tos;
  route.protocol = header.rtm_protocol;
  route.scope = header.rtm_scope;
  route.type = header.rtm_type;
  route.table = table;
  route.flags = header.rtm_flags & RTNH_F_ONLINK;
  route.attributes = all_but(attributes, {RTA_TABLE, RTA_CACHEINFO, RTA_NH_ID, RTA_UNSPEC, RTA_PAD});
  for (auto& attribute : route.attributes) {
    if (attribute.type != RTA_MULTIPATH) continue;
    const bool whole = for_each_hop(attribute.bytes, [](rtnexthop& hop) {
      hop.rtnh_flags &= RTNH_F_ONLINK;  // the others are state: down, dead, offloaded
      return true;
    });
    if (!whole) return Err("a route's hops are cut short");
  }
  if (const auto* cache = attributes.find(RTA_CACHEINFO)) {
    constexpr std::uint32_t kUserHz =
        100;  // clock_t of the interface on every architecture that matters here
    auto info = cache->as<rta_cacheinfo>();
    if (info && route.family == AF_INET6 && static_cast<std::int32_t>(info->rta_expires) > 0) {
      route.attributes.push_back(
          {RTA_EXPIRES, raw(static_cast<std::uint32_t>(info->rta_expires) / kUserHz + 1)});
    }
  }
  const auto destination = address_text(route.family, attributes.bytes(RTA_DST));
  route.text =
      route.destination_bits == 0 ? "default" : fmt::format("{}/{}", destination, route.destination_bits);
  return route;
}

Result<Rule> parse_rule(const os::NetlinkReply& reply) {
  TRY_ASSIGN(const auto header, reply.header<fib_rule_hdr>());
  const auto attributes = reply.attributes<fib_rule_hdr>();
  if (!attributes.whole()) return Err("a rule is cut short");
  Rule rule;
  rule.family = header.family;
  rule.destination_bits = header.dst_len;
  rule.source_bits = header.src_len;
  rule.tos = header.tos;
  rule.table = header.table;
  rule.action = header.action;
  rule.flags = header.flags & FIB_RULE_INVERT;
  rule.attributes = all_but(attributes, {FRA_UNSPEC, FRA_PAD});
  // -1 is how "none" is dumped; newer kernels do not dump it.
  std::erase_if(rule.attributes, [](const Attribute& a) {
    return (a.type == FRA_SUPPRESS_PREFIXLEN || a.type == FRA_SUPPRESS_IFGROUP) &&
           from_raw<std::uint32_t>(a.bytes).value_or(0) == 0xffffffff;
  });
  return rule;
}

Result<std::optional<Neighbour>> parse_neighbour(const os::NetlinkReply& reply) {
  TRY_ASSIGN(const auto header, reply.header<ndmsg>());
  const auto attributes = reply.attributes<ndmsg>();
  if (!attributes.whole()) return Err("a neighbour is cut short");
  if (header.ndm_family != AF_INET && header.ndm_family != AF_INET6) return std::nullopt;
  const bool proxy = (header.ndm_flags & NTF_PROXY) != 0;
  const int known = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE;
  if (!proxy && (header.ndm_state & (known | NUD_PERMANENT)) == 0) return std::nullopt;
  Neighbour neighbour;
  neighbour.family = header.ndm_family;
  neighbour.link = header.ndm_ifindex;
  neighbour.destination = address_text(neighbour.family, attributes.bytes(NDA_DST));
  neighbour.address = hardware_text(attributes.bytes(NDA_LLADDR));
  if (neighbour.destination.empty() || (!proxy && neighbour.address.empty())) return std::nullopt;
  neighbour.state = proxy ? 0 : (header.ndm_state & NUD_PERMANENT) != 0 ? NUD_PERMANENT : NUD_STALE;
  neighbour.flags = header.ndm_flags;
  neighbour.protocol = attributes.number<std::uint8_t>(NDA_PROTOCOL, 0);
  return neighbour;
}

std::optional<Route> with_indexes(const Route& route, const Indexes& indexes) {
  Route mapped = route;
  for (auto& attribute : mapped.attributes) {
    if (attribute.type == RTA_OIF || attribute.type == RTA_IIF) {
      auto found = indexes.find(from_raw<int>(attribute.bytes).value_or(0));
      if (found == indexes.end()) return std::nullopt;
      attribute.bytes = raw(found->second);
    }
    if (attribute.type != RTA_MULTIPATH) continue;
    const bool all = for_each_hop(attribute.bytes, [&](rtnexthop& hop) {
      if (hop.rtnh_ifindex == 0) return true;
      auto found = indexes.find(hop.rtnh_ifindex);
      if (found == indexes.end()) return false;
      hop.rtnh_ifindex = found->second;
      return true;
    });
    if (!all) return std::nullopt;
  }
  return mapped;
}

bool same_route(const Route& a, const Route& b) {
  auto without_lifetime = [](const Route& route) {
    Route copy = route;
    std::erase_if(copy.attributes, [](const Attribute& x) { return x.type == RTA_EXPIRES; });
    copy.text.clear();
    return copy;
  };
  return without_lifetime(a) == without_lifetime(b);
}

os::NetlinkRequest address_request(std::uint16_t type, int flags, const Address& address, int link) {
  ifaddrmsg header = {};
  header.ifa_family = static_cast<std::uint8_t>(address.family);
  header.ifa_prefixlen = address.prefix;
  header.ifa_scope = address.scope;
  header.ifa_index = static_cast<std::uint32_t>(link);
  os::NetlinkRequest request(type, flags, header);
  const auto local = address_bytes(address.family, address.local);
  request.bytes(IFA_LOCAL, local);
  request.bytes(IFA_ADDRESS, address.peer.empty() ? local : address_bytes(address.family, address.peer));
  if (!address.broadcast.empty())
    request.bytes(IFA_BROADCAST, address_bytes(address.family, address.broadcast));
  if (!address.label.empty()) request.text(IFA_LABEL, address.label);
  request.number(IFA_FLAGS, address.flags);
  ifa_cacheinfo times = {};
  times.ifa_prefered = address.preferred;
  times.ifa_valid = address.valid;
  request.number(IFA_CACHEINFO, times);
  if (address.protocol != 0) request.number(IFA_PROTO, address.protocol);
  if (address.metric != 0) request.number(IFA_RT_PRIORITY, address.metric);
  return request;
}

os::NetlinkRequest route_request(std::uint16_t type, int flags, const Route& route) {
  rtmsg header = {};
  header.rtm_family = static_cast<std::uint8_t>(route.family);
  header.rtm_dst_len = route.destination_bits;
  header.rtm_src_len = route.source_bits;
  header.rtm_tos = route.tos;
  header.rtm_protocol = route.protocol;
  header.rtm_scope = route.scope;
  header.rtm_type = route.type;
  header.rtm_table = static_cast<std::uint8_t>(route.table < 256 ? route.table : RT_TABLE_UNSPEC);
  header.rtm_flags = route.flags;
  os::NetlinkRequest request(type, flags, header);
  request.number(RTA_TABLE, route.table);
  for (const auto& attribute : route.attributes) request.bytes(attribute.type, attribute.bytes);
  return request;
}

os::NetlinkRequest rule_request(std::uint16_t type, int flags, const Rule& rule) {
  fib_rule_hdr header = {};
  header.family = static_cast<std::uint8_t>(rule.family);
  header.dst_len = rule.destination_bits;
  header.src_len = rule.source_bits;
  header.tos = rule.tos;
  header.table = rule.table;
  header.action = rule.action;
  header.flags = rule.flags;
  os::NetlinkRequest request(type, flags, header);
  for (const auto& attribute : rule.attributes) request.bytes(attribute.type, attribute.bytes);
  return request;
}

os::NetlinkRequest neighbour_request(int flags, const Neighbour& neighbour, int link) {
  ndmsg header = {};
  header.ndm_family = static_cast<std::uint8_t>(neighbour.family);
  header.ndm_ifindex = link;
  header.ndm_state = neighbour.state;
  header.ndm_flags = neighbour.flags;
  os::NetlinkRequest request(RTM_NEWNEIGH, flags, header);
  request.bytes(NDA_DST, address_bytes(neighbour.family, neighbour.destination));
  if (!neighbour.address.empty()) request.bytes(NDA_LLADDR, hardware_bytes(neighbour.address));
  if (neighbour.protocol != 0) request.number(NDA_PROTOCOL, neighbour.protocol);
  return request;
}

}  // namespace upkeep::net
