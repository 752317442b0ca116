#include "os/netlink.h"

#include <gmock/gmock.h>
#include <linux/rtnetlink.h>

#include <random>

namespace upkeep::os {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

NetlinkReply reply_of(const NetlinkRequest& request) {
  auto replies = parse_netlink(request.encoded());
  EXPECT_TRUE(replies);
  EXPECT_EQ(replies->size(), 1U);
  return std::move(replies->at(0));
}

TEST(Netlink, RequestIsLaidOutAsTheKernelExpects) {
  ifinfomsg header = {};
  header.ifi_index = 7;
  NetlinkRequest request(RTM_NEWLINK, NLM_F_CREATE, header);
  request.text(IFLA_IFNAME, "ab");
  request.set_sequence(5);
  const auto encoded = request.encoded();
  ASSERT_EQ(encoded.size(), sizeof(nlmsghdr) + sizeof(ifinfomsg) + 8);
  nlmsghdr message;
  std::memcpy(&message, encoded.data(), sizeof message);
  EXPECT_EQ(message.nlmsg_len, encoded.size());
  EXPECT_EQ(message.nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE);
  EXPECT_EQ(message.nlmsg_seq, 5U);
  EXPECT_THAT(encoded.subspan(sizeof(nlmsghdr) + sizeof(ifinfomsg)),
              testing::ElementsAreArray(bytes_of({7, 0, 3, 0, 'a', 'b', 0, 0})));
}

TEST(Netlink, NestedAttributesComeBack) {
  NetlinkRequest request(RTM_NEWLINK, 0, ifinfomsg{});
  request.nest(IFLA_LINKINFO, [](auto& info) {
    info.text(IFLA_INFO_KIND, "vlan");
    info.nest(IFLA_INFO_DATA, [](auto& data) { data.number(IFLA_VLAN_ID, std::uint16_t{5}); });
  });
  request.number(IFLA_MTU, std::uint32_t{1400});
  const auto reply = reply_of(request);
  const auto attributes = reply.attributes<ifinfomsg>();
  EXPECT_TRUE(attributes.whole());
  const auto info = attributes.nested(IFLA_LINKINFO);
  EXPECT_EQ(info.text(IFLA_INFO_KIND), "vlan");
  EXPECT_EQ(info.nested(IFLA_INFO_DATA).number<std::uint16_t>(IFLA_VLAN_ID, 0), 5);
  EXPECT_EQ(attributes.number<std::uint32_t>(IFLA_MTU, 0), 1400U);
  EXPECT_EQ(attributes.find(IFLA_MASTER), nullptr);
}

TEST(Netlink, AttributeThatIsTooLongMakesNoMessage) {
  NetlinkRequest request(RTM_NEWLINK, 0, ifinfomsg{});
  request.bytes(IFLA_IFALIAS, std::string(70000, 'x'));
  EXPECT_TRUE(request.encoded().empty());
  NetlinkRequest nested(RTM_NEWLINK, 0, ifinfomsg{});
  nested.nest(IFLA_LINKINFO, [](auto& inside) {
    inside.bytes(1, std::string(40000, 'x'));
    inside.bytes(2, std::string(40000, 'x'));
  });
  EXPECT_TRUE(nested.encoded().empty());
}

TEST(Netlink, LengthsThatDoNotFitEndTheList) {
  EXPECT_FALSE(NetlinkAttributes::parse(bytes_of({3, 0, 1, 0})).whole());  // shorter than a header
  EXPECT_FALSE(
      NetlinkAttributes::parse(bytes_of({9, 0, 1, 0, 1, 2, 3, 4})).whole());  // longer than what is there
  EXPECT_FALSE(NetlinkAttributes::parse(bytes_of({0, 0, 1, 0})).whole());     // would never end
  const auto data = bytes_of({8, 0, 1, 0, 1, 2, 3, 4, 200, 0, 2, 0});
  const auto attributes = NetlinkAttributes::parse(data);
  EXPECT_FALSE(attributes.whole());
  EXPECT_EQ(attributes.number<std::uint32_t>(1, 0), 0x04030201U);
  EXPECT_EQ(attributes.find(2), nullptr);
}

TEST(Netlink, NumberShorterThanAskedForIsNone) {
  const auto data = bytes_of({6, 0, 1, 0, 1, 2, 0, 0});
  const auto attributes = NetlinkAttributes::parse(data);
  EXPECT_EQ(attributes.number<std::uint32_t>(1, 77), 77U);
  EXPECT_EQ(attributes.number<std::uint16_t>(1, 77), 0x0201U);
}

TEST(Netlink, MessagesThatDoNotFitAreAnError) {
  NetlinkRequest request(RTM_NEWLINK, 0, ifinfomsg{});
  std::vector<std::byte> data(request.encoded().begin(), request.encoded().end());
  EXPECT_TRUE(parse_netlink(data));
  EXPECT_FALSE(parse_netlink(std::span(data).first(data.size() - 1)));
  EXPECT_FALSE(parse_netlink(std::span(data).first(5)));
  data[0] = std::byte{4};  // a length below the header's
  EXPECT_FALSE(parse_netlink(data));
}

TEST(Netlink, ErrorCarriesTheKernelsWords) {
  NetlinkReply reply;
  reply.type = NLMSG_ERROR;
  reply.flags = NLM_F_ACK_TLVS;
  nlmsgerr header = {};
  header.error = -ENOENT;
  const auto raw = std::as_bytes(std::span(&header, 1));
  reply.body.assign(raw.begin(), raw.end());
  NetlinkRequest words(0, 0);
  words.text(NLMSGERR_ATTR_MSG, "no such thing");
  const auto tail = words.encoded().subspan(sizeof(nlmsghdr));
  reply.body.insert(reply.body.end(), tail.begin(), tail.end());
  const auto error = netlink_error(reply);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ENOENT);
  EXPECT_THAT(error->message(), testing::StartsWith("no such thing"));
  NetlinkReply fine;
  fine.type = NLMSG_ERROR;
  fine.body.resize(sizeof(nlmsgerr));
  EXPECT_FALSE(netlink_error(fine));
  fine.body.resize(2);
  EXPECT_TRUE(netlink_error(fine));
}

// Sanitizers watch: nothing here may read beyond its bytes, whatever these say.
TEST(Netlink, RandomBytesAreSurvived) {
  std::mt19937 random(1);
  std::size_t seen = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> data(random() % 64);
    for (auto& byte : data) byte = static_cast<std::byte>(random() % 3 == 0 ? random() % 256 : random() % 12);
    for (const auto& attribute : NetlinkAttributes::parse(data)) seen += 1 + attribute.bytes().size();
    if (auto replies = parse_netlink(data)) {
      for (const auto& reply : *replies) netlink_error(reply);
    }
  }
  EXPECT_GT(seen, 0U);
}

}  // namespace
}  // namespace upkeep::os
