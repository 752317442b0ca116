#include "net/snapshot.h"

#include <gmock/gmock.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "namespace.h"
#include "os/netlink.h"

namespace upkeep::net {
namespace {

// The machine under test, its neighbour on the other end of a veth pair, and the machine after the jump: a
// fresh namespace.
class SnapshotTest : public testing::Test {
 protected:
  void SetUp() override {
    before_.ip({"link add e0 type veth peer name p0", "link set p0 netns " + peer_.path()});
    // Another hardware address and another index, as a new kernel may have them.
    after_.ip({"link add filler type veth peer name filler2", "link add e0 type veth peer name p1",
               "link del filler", "link set p1 netns " + peer_.path()});
    peer_.ip({"link set p0 up", "link set p1 up"});
  }

  Snapshot take(const Namespace& where) {
    Snapshot snapshot;
    where.in([&] {
      auto taken = take_snapshot();
      ASSERT_TRUE(taken) << taken.error().message();
      snapshot = std::move(*taken);
    });
    for (auto& link : snapshot.links) {
      if (link.lower_elsewhere) link.lower = 0;  // the other end's own index
    }
    return snapshot;
  }

  Outcome put(const Snapshot& snapshot) {
    // Through JSON, as it goes through the manifest.
    auto carried = snapshot_from_json(nlohmann::json::parse(to_json(snapshot).dump()));
    EXPECT_TRUE(carried && *carried == snapshot);
    Outcome outcome;
    after_.in([&] {
      auto done = put_back(*carried);
      ASSERT_TRUE(done) << done.error().message();
      outcome = std::move(*done);
    });
    return outcome;
  }

  // What a user sees must be the same too, whatever this project's own parser thinks of it.
  void expect_same_for_ip(const std::string& what) {
    EXPECT_EQ(sorted(before_, what), sorted(after_, what)) << what;
  }
  static nlohmann::json sorted(const Namespace& where, const std::string& what) {
    auto json = nlohmann::json::parse(where.run("ip -j " + what));
    for (auto& item : json) {
      for (const char* name :
           {"link_index", "link_netnsid", "valid_life_time", "preferred_life_time", "expires"})
        item.erase(name);
      if (!item.contains("addr_info")) continue;
      for (auto& address : item["addr_info"]) {
        for (const char* name : {"valid_life_time", "preferred_life_time"}) address.erase(name);
      }
    }
    std::sort(json.begin(), json.end());
    return json;
  }

  void expect_same(const Snapshot& wanted, const Snapshot& now) {
    const auto a = to_json(wanted), b = to_json(now);
    for (const char* list : {"links", "rules", "sysctls"}) EXPECT_EQ(a[list], b[list]) << list;
    // Lifetimes run down, and the order of routes of different links is the kernel's.
    for (const char* list : {"routes", "addresses", "neighbours"})
      EXPECT_EQ(a[list].size(), b[list].size()) << list;
    for (const char* what : {"addr show", "link show", "route show table all", "-6 route show table all",
                             "rule show", "-6 rule show", "neigh show", "neigh show proxy"}) {
      expect_same_for_ip(what);
    }
  }

  Namespace before_ = Namespace::make(), peer_ = Namespace::make(), after_ = Namespace::make();
};

TEST_F(SnapshotTest, AddressesRoutesRulesNeighboursAndSysctlsComeBack) {
  before_.run(
      "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 2 > /proc/sys/net/ipv4/conf/all/rp_filter;"
      "echo 1 > /proc/sys/net/ipv4/conf/e0/arp_ignore; echo 0 > /proc/sys/net/ipv6/conf/e0/accept_ra;"
      "echo 77 > /proc/sys/net/ipv4/neigh/e0/gc_stale_time; echo 5 > /proc/sys/net/ipv4/tcp_fin_timeout");
  before_.ip({"link set lo up",
              "link set e0 mtu 1400 txqueuelen 500 alias 'the uplink'",
              "link set e0 promisc on",
              "link property add dev e0 altname uplink0",
              "link set e0 up",
              "addr add 10.1.0.1/24 brd + dev e0",
              "addr add 10.1.0.2/24 dev e0 label e0:two",
              "addr add 10.2.0.1 peer 10.2.0.9/32 dev e0",
              "addr add 10.3.0.1/24 dev e0 noprefixroute",
              "addr add 10.4.0.1/24 dev e0 valid_lft 1000 preferred_lft 500",
              "addr add 10.5.0.1/24 dev e0 metric 50",
              "addr add 2001:db8:1::1/64 dev e0 nodad",
              "addr add 2001:db8:1::2/64 dev e0 valid_lft 2000 preferred_lft 0 nodad",
              "route add default via 10.1.0.254 dev e0 src 10.1.0.2 metric 100",
              "route add 10.9.0.0/16 via 10.1.0.253 mtu 1300 initcwnd 20",
              "route add blackhole 192.0.2.0/25",
              "route add unreachable 192.0.2.128/26",
              "route add prohibit 192.0.2.192/26",
              "route add throw 198.51.100.0/24 table 100",
              "route add 203.0.113.0/24 via 172.16.0.1 dev e0 onlink proto static table 70000",
              "route add 10.8.0.0/16 nexthop via 10.1.0.250 weight 2 nexthop via 10.1.0.251 weight 5",
              "route add local 10.99.0.0/16 dev lo",
              "route add default via 2001:db8:1::ff dev e0",
              "route add 2001:db8:8::/48 nexthop via 2001:db8:1::fa nexthop via 2001:db8:1::fb",
              "route add unreachable 2001:db8:9::/48",
              "route add 2001:db8:a::/48 via 2001:db8:1::ff expires 900",
              "rule add from 10.1.0.2 lookup 100 priority 50",
              "rule add not fwmark 7 table 70000",
              "neigh add 10.1.0.254 lladdr 02:00:00:00:00:fe dev e0",
              "neigh add 10.1.0.253 lladdr 02:00:00:00:00:fd dev e0 nud stale",
              "neigh add 2001:db8:1::ff lladdr 02:00:00:00:00:ff dev e0 nud reachable",
              "neigh add proxy 10.1.0.77 dev e0"});
  before_.run("ip -6 rule add to 2001:db8:9::/48 lookup 100");
  before_.ip({"neigh change 2001:db8:1::ff lladdr 02:00:00:00:00:ff dev e0 nud stale"});
  // Its own link-local address has ended being tentative: only then is there anything to compare with.
  before_.run(
      "for i in $(seq 100); do ip -6 addr show tentative | grep -q inet6 || exit 0; sleep 0.1; done; exit 1");

  const Snapshot wanted = take(before_);
  EXPECT_GE(wanted.addresses.size(), 10U);
  EXPECT_GE(wanted.routes.size(), 15U);
  const auto outcome = put(wanted);
  EXPECT_THAT(outcome.warnings, testing::IsEmpty());
  expect_same(wanted, take(after_));
  // At once, not after a second of duplicate address detection.
  EXPECT_EQ(after_.run("ip -6 addr show tentative"), "");
  // A second time there is nothing to do.
  const auto again = put(wanted);
  EXPECT_THAT(again.warnings, testing::IsEmpty());
  EXPECT_EQ(again.links_made, 0U);
  EXPECT_EQ(again.addresses_added, 0U);
  EXPECT_EQ(again.routes_added, 0U);
  EXPECT_EQ(again.sysctls_written, 0U);
  expect_same(wanted, take(after_));
}

TEST_F(SnapshotTest, BridgesAndPairsAreMadeAgain) {
  before_.ip({"link add br0 type bridge forward_delay 3000 ageing_time 12345",
              "link add v0 type veth peer name v1", "link set v1 address 02:aa:bb:cc:dd:01",
              "link set v0 master br0", "link set v0 type bridge_slave cost 33 hairpin on guard on",
              "link set e0 master br0", "link set br0 address 02:aa:bb:cc:dd:ee", "link set lo up",
              "link set v0 up", "link set v1 up", "link set e0 up", "link set br0 up",
              "addr add 10.7.0.1/24 dev br0"});
  before_.run(
      "for i in $(seq 100); do ip link show br0 | grep -q LOWER_UP && exit 0; sleep 0.1; done; exit 1");
  before_.ip({"link set br0 type bridge stp_state 1"});
  const Snapshot wanted = take(before_);
  // Put back with the protocol on from the start, the bridge would be without carrier for a minute: that
  // would be a warning.
  const auto outcome = put(wanted);
  EXPECT_THAT(outcome.warnings, testing::IsEmpty());
  EXPECT_EQ(outcome.links_made, 2U);  // br0, and both ends of v0 at once
  const Snapshot now = take(after_);
  EXPECT_EQ(to_json(wanted)["links"], to_json(now)["links"]);
  EXPECT_EQ(put(wanted).links_made, 0U);
}

TEST_F(SnapshotTest, VlansAndDummiesAreMadeAgain) {
  for (const char* kind : {"vlan", "dummy"}) {
    if (!kernel_has_link_kind(kind)) GTEST_SKIP() << "this kernel has no links of kind " << kind;
  }
  before_.ip({"link add dum type dummy", "link set dum up",
              "link add link dum name dum.5 type vlan id 5 protocol 802.1ad egress-qos-map 2:3",
              "link add link dum.5 name in type vlan id 7", "link set dum.5 up", "link set in up",
              "link set lo up", "addr add 10.5.5.1/24 dev in"});
  const Snapshot wanted = take(before_);
  const auto outcome = put(wanted);
  EXPECT_THAT(outcome.warnings, testing::IsEmpty());
  EXPECT_EQ(outcome.links_made, 3U);
  expect_same(wanted, take(after_));
}

TEST_F(SnapshotTest, WhatCannotBePutBackIsAWarning) {
  Snapshot wanted = take(before_);
  Link tunnel;
  tunnel.name = "wg0";
  tunnel.kind = "wireguard";
  tunnel.index = 77;
  wanted.links.push_back(tunnel);
  Address address;
  address.family = AF_INET;
  address.link = 77;
  address.local = "10.0.0.1";
  address.prefix = 24;
  wanted.addresses.push_back(address);
  const auto outcome = put(wanted);
  EXPECT_THAT(outcome.warnings,
              testing::UnorderedElementsAre("link wg0 of kind wireguard cannot be put back in this version",
                                            "1 addresses of links that are not there"));
}

TEST_F(SnapshotTest, APhysicalLinkThatDoesNotComeIsWaitedForAndNamed) {
  Snapshot wanted = take(before_);
  Link nic;
  nic.name = "ens3";
  nic.hardware = 1;
  nic.index = 88;
  nic.permanent_address = "02:00:00:00:00:88";
  wanted.links.push_back(nic);
  after_.in([&] {
    const auto start = std::chrono::steady_clock::now();
    PutBackOptions options;
    options.wait_for_links = std::chrono::milliseconds(300);
    auto outcome = put_back(wanted, options);
    ASSERT_TRUE(outcome);
    EXPECT_THAT(outcome->warnings, testing::ElementsAre("link ens3: no such device in this kernel"));
    EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(300));
  });
}

TEST(Notifications, ComeToASocketThatHasAskedForNothingYet) {
  const auto where = Namespace::make();
  where.in([&] {
    auto events = os::NetlinkSocket::open(NETLINK_ROUTE);
    ASSERT_TRUE(events && events->join(RTNLGRP_LINK));
    where.ip({"link set lo up"});
    int seen = 0;
    auto woken = events->wait(std::chrono::seconds(5), [&](const os::NetlinkReply& reply) -> Result<void> {
      seen = reply.type;
      return {};
    });
    ASSERT_TRUE(woken) << woken.error().message();
    EXPECT_TRUE(*woken);
    EXPECT_EQ(seen, RTM_NEWLINK);
    EXPECT_EQ(events->wait(std::chrono::milliseconds(1), nullptr), false);
  });
}

TEST_F(SnapshotTest, SettlingCanBeLeftForLater) {
  before_.ip({"link set lo up", "link set e0 up", "addr add 2001:db8:1::1/64 dev e0 nodad"});
  before_.run(
      "for i in $(seq 100); do ip -6 addr show tentative | grep -q inet6 || exit 0; sleep 0.1; done; exit 1");
  const Snapshot wanted = take(before_);
  after_.in([&] {
    PutBackOptions options;
    options.settle = false;
    ASSERT_TRUE(put_back(wanted, options));
    EXPECT_EQ(after_.run("cat /proc/sys/net/ipv6/conf/e0/accept_dad"), "0\n");
    auto warnings = settle_links(wanted, std::chrono::seconds(5));
    ASSERT_TRUE(warnings) << warnings.error().message();
    EXPECT_THAT(*warnings, testing::IsEmpty());
  });
  EXPECT_EQ(after_.run("ip -6 addr show tentative"), "");
  expect_same(wanted, take(after_));
  // A link whose other end went down meanwhile has no carrier: a warning, in time.
  peer_.ip({"link set p1 down"});
  // The kernel tells of it up to a second later (linkwatch).
  after_.run(
      "for i in $(seq 100); do ip link show e0 | grep -q 'state UP' || exit 0; sleep 0.1; done; exit 1");
  after_.in([&] {
    auto warnings = settle_links(wanted, std::chrono::milliseconds(100));
    ASSERT_TRUE(warnings);
    EXPECT_THAT(*warnings, testing::ElementsAre("no carrier after 100 ms: e0"));
  });
}

TEST_F(SnapshotTest, RemovedDefaultsStayRemoved) {
  before_.ip({"link set lo up", "link set e0 up", "addr add 10.1.0.1/24 dev e0", "route del 10.1.0.0/24",
              "rule del priority 32767", "link set lo up"});
  before_.run("ip -6 rule add priority 40 lookup main");
  before_.run(
      "for i in $(seq 100); do ip -6 addr show tentative | grep -q inet6 || exit 0; sleep 0.1; done; exit 1");
  before_.run("ip -6 addr flush dev e0 scope link; ip addr add fe80::1:2/64 dev e0 nodad");
  const Snapshot wanted = take(before_);
  EXPECT_THAT(put(wanted).warnings, testing::IsEmpty());
  expect_same(wanted, take(after_));
}

TEST_F(SnapshotTest, CheckNamesWhatIsNotCarried) {
  before_.ip({"link set lo up", "link set e0 up", "addr add 10.1.0.1/24 dev e0"});
  before_.run(
      "tc qdisc add dev e0 root handle 1: tbf rate 1mbit burst 32k latency 50ms || tc qdisc add dev e0 root "
      "handle 1: pfifo");
  before_.run("nft add table inet mine");
  before_.in([&] {
    auto findings = check();
    ASSERT_TRUE(findings) << findings.error().message();
    std::vector<std::string> names;
    for (const auto& finding : *findings) names.push_back(finding.what);
    EXPECT_THAT(names, testing::UnorderedElementsAre(testing::HasSubstr("link e0: its other end"),
                                                     testing::HasSubstr("queueing discipline"),
                                                     "firewall rules are in use"));
  });
  Namespace::make().in([&] {
    auto findings = check();
    ASSERT_TRUE(findings);
    ASSERT_EQ(findings->size(), 1U);
    EXPECT_EQ(findings->at(0).severity, Finding::Severity::ok);
  });
}

}  // namespace
}  // namespace upkeep::net
