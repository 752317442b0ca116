#include <gmock/gmock.h>
#include <sys/socket.h>
#include <nlohmann/json.hpp>

#include "net/snapshot.h"

namespace upkeep::net {
namespace {

Snapshot filled() {
  Snapshot snapshot;
  Link link;
  link.name = "br0";
  link.index = 3;
  link.hardware = 1;
  link.kind = "bridge";
  link.address = "52:54:00:12:34:56";
  link.permanent_address = "52:54:00:00:00:01";
  link.bus = "0000:00:03.0";
  link.mtu = 1500;
  link.queue_length = 1000;
  link.group = 5;
  link.flags = 0x11043;
  link.state = 6;
  link.alias = "the uplink";
  link.other_names = {"enp0s3"};
  link.master = 4;
  link.lower = 5;
  link.lower_elsewhere = true;
  link.qdisc = "fq_codel";
  link.kind_data = {{5, std::string("\0\1\xff", 3)}};
  link.port_data = {{2, ""}};
  snapshot.links = {link};
  Address address;
  address.family = AF_INET;
  address.link = 3;
  address.local = "10.0.0.1";
  address.peer = "10.0.0.2";
  address.broadcast = "10.0.0.255";
  address.prefix = 24;
  address.scope = 253;
  address.label = "br0:1";
  address.flags = 0x80;
  address.protocol = 3;
  address.metric = 9;
  address.preferred = 1;
  address.valid = 0xffffffff;
  snapshot.addresses = {address};
  Route route;
  route.family = AF_INET6;
  route.destination_bits = 64;
  route.source_bits = 1;
  route.tos = 4;
  route.protocol = 16;
  route.scope = 253;
  route.type = 1;
  route.table = 70000;
  route.flags = 4;
  route.attributes = {{1, "x"}, {9, std::string(300, '\x80')}};
  route.text = "2001:db8::/64";
  snapshot.routes = {route};
  Rule rule;
  rule.family = AF_INET;
  rule.destination_bits = 8;
  rule.source_bits = 9;
  rule.tos = 1;
  rule.table = 254;
  rule.action = 1;
  rule.flags = 2;
  rule.attributes = {{6, "abcd"}};
  snapshot.rules = {rule};
  snapshot.neighbours = {{AF_INET, 3, "10.0.0.9", "52:54:00:12:34:57", 4, 128, 2}};
  snapshot.sysctls = {{"ipv4/ip_forward", "1"}, {"ipv4/tcp_rmem", "4096\t131072\t6291456"}};
  return snapshot;
}

TEST(SnapshotJson, EveryFieldComesBack) {
  const Snapshot snapshot = filled();
  auto back = snapshot_from_json(nlohmann::json::parse(to_json(snapshot).dump()));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, snapshot);
}

TEST(SnapshotJson, WhatIsMissingOrOfTheWrongKindIsNamed) {
  for (const char* list : {"links", "addresses", "routes", "rules", "neighbours", "sysctls"}) {
    auto json = to_json(filled());
    json.erase(list);
    auto back = snapshot_from_json(json);
    ASSERT_FALSE(back) << list;
    EXPECT_THAT(back.error().message(), testing::HasSubstr(list));
  }
  auto json = to_json(filled());
  json["links"][0]["index"] = "three";
  EXPECT_FALSE(snapshot_from_json(json));
  json = to_json(filled());
  json["routes"][0]["attributes"][0][1] = "7";
  EXPECT_FALSE(snapshot_from_json(json));
  json["routes"][0]["attributes"][0][1] = "zz";
  EXPECT_FALSE(snapshot_from_json(json));
  EXPECT_FALSE(snapshot_from_json(nlohmann::json(7)));
}

TEST(SnapshotModules, FollowFromWhatIsInUse) {
  Snapshot snapshot = filled();
  snapshot.sysctls = {{"ipv4/tcp_congestion_control", "bbr"}, {"core/default_qdisc", "fq"}};
  EXPECT_THAT(modules_of(snapshot), testing::ElementsAre("bridge", "sch_fq", "sch_fq_codel", "tcp_bbr"));
}

}  // namespace
}  // namespace upkeep::net
