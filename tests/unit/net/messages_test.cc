#include "net/messages.h"

#include <gmock/gmock.h>
#include <linux/fib_rules.h>
#include <linux/if_bridge.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace upkeep::net {
namespace {

template <typename T>
std::string raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

os::NetlinkReply as_reply(const os::NetlinkRequest& request) {
  auto replies = os::parse_netlink(request.encoded());
  EXPECT_TRUE(replies);
  return std::move(replies->at(0));
}

std::string hop(int index, unsigned char flags, const std::string& attributes) {
  rtnexthop header = {};
  header.rtnh_len = static_cast<unsigned short>(sizeof header + attributes.size());
  header.rtnh_flags = flags;
  header.rtnh_ifindex = index;
  return raw(header) + attributes;
}

Route multipath_route() {
  Route route;
  route.family = AF_INET;
  route.destination_bits = 8;
  route.protocol = RTPROT_STATIC;
  route.type = RTN_UNICAST;
  route.table = 1000;  // does not fit into the header's field
  route.text = "10.0.0.0/8";
  route.attributes = {{RTA_DST, address_bytes(AF_INET, "10.0.0.0")},
                      {RTA_MULTIPATH, hop(2, 0, "") + hop(3, RTNH_F_ONLINK, "")}};
  return route;
}

TEST(Messages, RouteGoesToAMessageAndBack) {
  const Route route = multipath_route();
  auto parsed = parse_route(as_reply(route_request(RTM_NEWROUTE, 0, route)));
  ASSERT_TRUE(parsed) << parsed.error().message();
  ASSERT_TRUE(*parsed);
  EXPECT_EQ(**parsed, route);
}

TEST(Messages, RouteFollowsItsLinks) {
  auto mapped = with_indexes(multipath_route(), {{2, 20}, {3, 30}});
  ASSERT_TRUE(mapped);
  EXPECT_EQ(mapped->attributes[1].bytes, hop(20, 0, "") + hop(30, RTNH_F_ONLINK, ""));
  EXPECT_FALSE(with_indexes(multipath_route(), {{2, 20}}));
  Route plain = multipath_route();
  plain.attributes[1] = {RTA_OIF, raw(5)};
  EXPECT_EQ(with_indexes(plain, {{5, 6}})->attributes[1].bytes, raw(6));
  EXPECT_FALSE(with_indexes(plain, {{6, 5}}));
}

TEST(Messages, HopsThatAreCutShortAreRefused) {
  Route route = multipath_route();
  route.attributes[1].bytes.pop_back();
  EXPECT_FALSE(parse_route(as_reply(route_request(RTM_NEWROUTE, 0, route))));
  EXPECT_FALSE(with_indexes(route, {{2, 20}, {3, 30}}));
  route.attributes[1].bytes = std::string(8, '\0');  // a hop of length 0 would never end
  EXPECT_FALSE(with_indexes(route, {{2, 20}, {3, 30}}));
}

TEST(Messages, StateOfARouteIsLeftOut) {
  Route route = multipath_route();
  route.flags = RTNH_F_LINKDOWN | RTNH_F_ONLINK;
  route.attributes[1].bytes = hop(2, RTNH_F_DEAD | RTNH_F_LINKDOWN, "");
  auto parsed = parse_route(as_reply(route_request(RTM_NEWROUTE, 0, route)));
  ASSERT_TRUE(parsed && *parsed);
  EXPECT_EQ((*parsed)->flags, static_cast<std::uint32_t>(RTNH_F_ONLINK));
  EXPECT_EQ((*parsed)->attributes[1].bytes, hop(2, 0, ""));
}

TEST(Messages, RoutesThatAddressesMakeAreLeftOut) {
  Route route = multipath_route();
  route.table = RT_TABLE_LOCAL;
  route.protocol = RTPROT_KERNEL;
  EXPECT_FALSE(*parse_route(as_reply(route_request(RTM_NEWROUTE, 0, route))));
  route.protocol = RTPROT_BOOT;  // somebody's own
  EXPECT_TRUE(*parse_route(as_reply(route_request(RTM_NEWROUTE, 0, route))));
  route.table = RT_TABLE_MAIN;
  route.flags = RTM_F_CLONED;
  EXPECT_FALSE(*parse_route(as_reply(route_request(RTM_NEWROUTE, 0, route))));
}

TEST(Messages, LifetimeOfARouteBecomesAnExpiry) {
  Route route = multipath_route();
  route.family = AF_INET6;
  route.attributes = {{RTA_DST, address_bytes(AF_INET6, "2001:db8::")}, {RTA_OIF, raw(2)}};
  auto request = route_request(RTM_NEWROUTE, 0, route);
  rta_cacheinfo times = {};
  times.rta_expires = 12345;  // hundredths of a second
  request.number(RTA_CACHEINFO, times);
  auto parsed = parse_route(as_reply(request));
  ASSERT_TRUE(parsed && *parsed);
  EXPECT_THAT((*parsed)->attributes, testing::Contains(Attribute{RTA_EXPIRES, raw(std::uint32_t{124})}));
  EXPECT_TRUE(same_route(**parsed, route));
}

TEST(Messages, AddressGoesToAMessageAndBack) {
  Address address;
  address.family = AF_INET;
  address.link = 4;
  address.local = "192.0.2.1";
  address.peer = "192.0.2.9";
  address.broadcast = "192.0.2.255";
  address.prefix = 24;
  address.label = "eth0:1";
  address.flags = IFA_F_NOPREFIXROUTE | IFA_F_PERMANENT;
  address.metric = 7;
  address.preferred = 100;
  address.valid = 200;
  auto parsed = parse_address(as_reply(address_request(RTM_NEWADDR, 0, address, 4)));
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(*parsed, address);
  address.family = AF_INET6;
  address.local = "2001:db8::1";
  address.peer = address.broadcast = address.label = "";
  address.protocol = 2;
  parsed = parse_address(as_reply(address_request(RTM_NEWADDR, 0, address, 4)));
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(*parsed, address);
}

TEST(Messages, AddressWithoutAValueIsRefused) {
  EXPECT_FALSE(parse_address(as_reply(os::NetlinkRequest(RTM_NEWADDR, 0, ifaddrmsg{}))));
  os::NetlinkRequest cut(RTM_NEWADDR, 0);
  EXPECT_FALSE(parse_address(as_reply(cut)));
  ifaddrmsg header = {};
  header.ifa_family = AF_INET6;
  os::NetlinkRequest narrow(RTM_NEWADDR, 0, header);
  narrow.bytes(IFA_ADDRESS, "\1\2\3\4");  // four bytes for a family of sixteen
  EXPECT_FALSE(parse_address(as_reply(narrow)));
}

TEST(Messages, RuleGoesToAMessageAndBack) {
  Rule rule;
  rule.family = AF_INET;
  rule.source_bits = 32;
  rule.action = FR_ACT_TO_TBL;
  rule.flags = FIB_RULE_INVERT;
  rule.table = 100;
  rule.attributes = {{FRA_SRC, address_bytes(AF_INET, "10.0.0.1")}, {FRA_PRIORITY, raw(std::uint32_t{50})}};
  auto request = rule_request(RTM_NEWRULE, 0, rule);
  request.number(FRA_SUPPRESS_PREFIXLEN, std::uint32_t{0xffffffff});  // "none"
  auto parsed = parse_rule(as_reply(request));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, rule);
}

TEST(Messages, NeighboursThatWorkedComeBackAsStale) {
  Neighbour neighbour;
  neighbour.family = AF_INET;
  neighbour.link = 2;
  neighbour.destination = "10.0.0.1";
  neighbour.address = "52:54:00:12:34:56";
  auto state = [&](int value) {
    neighbour.state = static_cast<std::uint16_t>(value);
    auto parsed = parse_neighbour(as_reply(neighbour_request(0, neighbour, 2)));
    EXPECT_TRUE(parsed);
    return *parsed ? (*parsed)->state : -1;
  };
  EXPECT_EQ(state(NUD_REACHABLE), NUD_STALE);
  EXPECT_EQ(state(NUD_DELAY), NUD_STALE);
  EXPECT_EQ(state(NUD_PERMANENT), NUD_PERMANENT);
  EXPECT_EQ(state(NUD_FAILED), -1);
  EXPECT_EQ(state(NUD_INCOMPLETE), -1);
  EXPECT_EQ(state(NUD_NOARP), -1);
}

TEST(Messages, BridgeKeepsWhatCanBeSetOnly) {
  ifinfomsg header = {};
  header.ifi_index = 3;
  os::NetlinkRequest request(RTM_NEWLINK, 0, header);
  request.text(IFLA_IFNAME, "br0").bytes(IFLA_ADDRESS, "\x52\x54\1\2\3\4");
  request.nest(IFLA_LINKINFO, [](auto& info) {
    info.text(IFLA_INFO_KIND, "bridge");
    info.nest(IFLA_INFO_DATA, [](auto& data) {
      data.number(IFLA_BR_STP_STATE, std::uint32_t{1});
      data.number(IFLA_BR_HELLO_TIMER, std::uint64_t{77});
    });
  });
  request.nest(IFLA_PROP_LIST, [](auto& names) { names.text(IFLA_ALT_IFNAME, "uplink"); });
  auto link = parse_link(as_reply(request));
  ASSERT_TRUE(link);
  EXPECT_EQ(link->name, "br0");
  EXPECT_EQ(link->address, "52:54:01:02:03:04");
  EXPECT_THAT(link->other_names, testing::ElementsAre("uplink"));
  EXPECT_THAT(link->kind_data, testing::ElementsAre(Attribute{IFLA_BR_STP_STATE, raw(std::uint32_t{1})}));
}

TEST(Messages, VlanFlagsCanBeGivenBack) {
  os::NetlinkRequest request(RTM_NEWLINK, 0, ifinfomsg{});
  request.nest(IFLA_LINKINFO, [](auto& info) {
    info.text(IFLA_INFO_KIND, "vlan");
    info.nest(IFLA_INFO_DATA, [](auto& data) {
      data.number(IFLA_VLAN_ID, std::uint16_t{5});
      data.number(IFLA_VLAN_FLAGS, ifla_vlan_flags{0x3, 0xffffffff});  // as 6.1 to 7.3 dump them
    });
  });
  auto link = parse_link(as_reply(request));
  ASSERT_TRUE(link);
  EXPECT_THAT(link->kind_data,
              testing::ElementsAre(Attribute{IFLA_VLAN_ID, raw(std::uint16_t{5})},
                                   Attribute{IFLA_VLAN_FLAGS, raw(ifla_vlan_flags{0x3, 0x1f})}));
}

TEST(Messages, AddressesAsText) {
  EXPECT_EQ(address_text(AF_INET, address_bytes(AF_INET, "10.1.2.3")), "10.1.2.3");
  EXPECT_EQ(address_text(AF_INET6, address_bytes(AF_INET6, "fe80::1")), "fe80::1");
  EXPECT_EQ(address_bytes(AF_INET, "fe80::1"), "");
  EXPECT_EQ(hardware_bytes(hardware_text(std::string("\0\x7f\xff", 3))), std::string("\0\x7f\xff", 3));
  EXPECT_EQ(hardware_bytes("zz:00"), "");
}

}  // namespace
}  // namespace upkeep::net
