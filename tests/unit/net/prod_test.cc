#include "net/prod.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <nlohmann/json.hpp>

namespace upkeep::net {
namespace {

TcpPeer peer4() {
  TcpPeer peer;
  peer.family = AF_INET;
  peer.local = "192.0.2.1";
  peer.peer = "192.0.2.9";
  peer.local_port = 6379;
  peer.peer_port = 40000;
  return peer;
}

unsigned byte_at(const std::string& bytes, std::size_t i) { return static_cast<unsigned char>(bytes.at(i)); }

unsigned ones_sum(const std::string& bytes, std::size_t from, std::size_t size) {
  unsigned sum = 0;
  for (std::size_t i = from; i < from + size; i += 2) sum += byte_at(bytes, i) << 8 | byte_at(bytes, i + 1);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

TEST(Prod, QuotesThePeersSegment) {
  const std::string message = prod_message(peer4(), 0x01020304);
  ASSERT_EQ(message.size(), 8U + 20 + 20);
  EXPECT_EQ(byte_at(message, 0), 3U);
  EXPECT_EQ(byte_at(message, 1), 1U);
  EXPECT_EQ(ones_sum(message, 0, message.size()), 0xffffU);  // the ICMP checksum is right
  EXPECT_EQ(ones_sum(message, 8, 20), 0xffffU);              // and the quoted header's
  EXPECT_EQ(message.substr(8 + 12, 8), std::string("\xc0\0\2\x09\xc0\0\2\1", 8));  // from the peer to us
  EXPECT_EQ(message.substr(28, 8), std::string("\x9c\x40\x18\xeb\1\2\3\4", 8));  // ports and sequence number
}

TEST(Prod, QuotesIpv6WithTheCodeThatLinuxActsOn) {
  TcpPeer peer = peer4();
  peer.family = AF_INET6;
  peer.local = "2001:db8::1";
  peer.peer = "2001:db8::9";
  const std::string message = prod_message(peer, 0x01020304);
  ASSERT_EQ(message.size(), 8U + 40 + 20);
  EXPECT_EQ(byte_at(message, 0), 1U);
  EXPECT_EQ(byte_at(message, 1), 0U);
  EXPECT_EQ(byte_at(message, 8), 0x60U);
  EXPECT_EQ(byte_at(message, 8 + 6), 6U);   // TCP follows
  EXPECT_EQ(byte_at(message, 8 + 23), 9U);  // from the peer
  EXPECT_EQ(message.substr(52, 4), "\1\2\3\4");
}

TEST(Prod, AddressesThatAreNoneGiveNoMessage) {
  TcpPeer peer = peer4();
  peer.peer = "nonsense";
  EXPECT_EQ(prod_message(peer, 1), "");
}

TEST(Prod, LoopbackIsLeftOut) {
  TcpPeer loopback = peer4();
  loopback.peer = "127.0.0.1";
  TcpPeer own = peer4();
  own.peer = own.local;
  auto prodded = prod_peers({loopback, own});
  ASSERT_TRUE(prodded) << prodded.error().message();
  EXPECT_EQ(prodded->peers, 0U);
  EXPECT_EQ(prodded->messages, 0U);
}

TEST(Prod, PeersAsJson) {
  TcpPeer peer = peer4();
  peer.receive_next = 0xffffffff;
  peer.acknowledged = 17;
  auto back = tcp_peers_from_json(nlohmann::json::parse(to_json(std::vector<TcpPeer>{peer}).dump()));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_THAT(*back, testing::ElementsAre(peer));
  EXPECT_FALSE(tcp_peers_from_json(nlohmann::json::parse(R"([{"family": 2}])")));
  EXPECT_FALSE(tcp_peers_from_json(nlohmann::json::parse(R"({"family": 2})")));
}

}  // namespace
}  // namespace upkeep::net
