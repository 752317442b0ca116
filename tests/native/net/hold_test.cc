#include "net/hold.h"

#include <gmock/gmock.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "connection.h"
#include "namespace.h"

namespace upkeep::net {
namespace {

// A kernel without nf_tables (and no modules to load) has nothing to test; anything else that fails is a
// failure.
bool no_nf_tables() {
  bool missing = false;
  Namespace::make().in([&] {
    auto held = hold_network();
    missing = !held && (held.error().code() == EPROTONOSUPPORT || held.error().code() == EINVAL);
  });
  return missing;
}

bool readable(int fd, int milliseconds) {
  pollfd poll_fd = {fd, POLLIN, 0};
  return ::poll(&poll_fd, 1, milliseconds) == 1;
}

class HoldTest : public testing::Test {
 protected:
  void SetUp() override {
    if (no_nf_tables()) GTEST_SKIP() << "this kernel has no nf_tables";
    machine_.ip({"link set lo up", "link add e0 type veth peer name p0",
                 "link set p0 netns " + outside_.path(), "link set e0 up", "addr add 10.1.0.1/24 dev e0",
                 "addr add 2001:db8:1::1/64 dev e0 nodad"});
    outside_.ip({"link set p0 up", "addr add 10.1.0.9/24 dev p0", "addr add 2001:db8:1::9/64 dev p0 nodad"});
  }
  void expect_ok(const Namespace& where, const std::function<Result<void>()>& call) {
    where.in([&] {
      auto done = call();
      EXPECT_TRUE(done) << done.error().message();
    });
  }
  bool held() {
    bool answer = false;
    machine_.in([&] { answer = network_is_held().value(); });
    return answer;
  }
  Namespace machine_ = Namespace::make(), outside_ = Namespace::make();
};

TEST_F(HoldTest, IsIdempotentAndLeavesNothing) {
  EXPECT_FALSE(held());
  expect_ok(machine_, release_network);
  expect_ok(machine_, hold_network);
  EXPECT_TRUE(held());
  expect_ok(machine_, hold_network);
  const auto rules = machine_.run("nft list ruleset");
  EXPECT_THAT(rules, testing::HasSubstr("hook prerouting"));
  EXPECT_THAT(rules, testing::HasSubstr("hook output"));
  EXPECT_EQ(rules.find("policy accept"), std::string::npos);
  expect_ok(machine_, release_network);
  EXPECT_FALSE(held());
  EXPECT_EQ(machine_.run("nft list ruleset"), "");
}

TEST_F(HoldTest, OthersRulesAreLeftAlone) {
  machine_.run(
      "nft 'add table inet mine; add chain inet mine c { type filter hook input priority 0; policy accept; "
      "}'");
  const auto before = machine_.run("nft list ruleset");
  expect_ok(machine_, hold_network);
  expect_ok(machine_, release_network);
  EXPECT_EQ(machine_.run("nft list ruleset"), before);
}

TEST_F(HoldTest, DropsBothWaysOnLoopbackToo) {
  for (const char* address : {"127.0.0.1", "::1", "10.1.0.1", "2001:db8:1::1"}) {
    const bool loopback = std::string(address) == "127.0.0.1" || std::string(address) == "::1";
    const Namespace& sender = loopback ? machine_ : outside_;
    auto receiver = datagram_socket(machine_, address);
    auto source = datagram_socket(sender, loopback                             ? address
                                          : std::string(address) == "10.1.0.1" ? "10.1.0.9"
                                                                               : "2001:db8:1::9");
    ASSERT_TRUE(send_datagram(source, receiver)) << address;
    EXPECT_TRUE(readable(receiver.get(), 3000)) << address;
    receive_all(receiver);
    expect_ok(machine_, hold_network);
    // In: what is sent from outside leaves there, but does not arrive. On loopback it does not even leave.
    EXPECT_EQ(send_datagram(source, receiver), !loopback) << address;
    EXPECT_FALSE(readable(receiver.get(), 100)) << address;
    // Out.
    EXPECT_FALSE(send_datagram(receiver, source)) << address;
    EXPECT_FALSE(readable(source.get(), 100)) << address;
    expect_ok(machine_, release_network);
    ASSERT_TRUE(send_datagram(source, receiver)) << address;
    EXPECT_TRUE(readable(receiver.get(), 3000)) << address;
  }
}

TEST_F(HoldTest, ConnectionsWaitAndGoOn) {
  for (const char* address : {"10.1.0.1", "2001:db8:1::1"}) {
    auto [server, client] = connection(machine_, address, outside_);
    expect_ok(machine_, hold_network);
    ASSERT_EQ(::send(client.get(), "question", 8, 0), 8);
    ASSERT_EQ(::send(server.get(), "answer", 6, 0), 6);
    EXPECT_FALSE(readable(server.get(), 400)) << address;
    EXPECT_FALSE(readable(client.get(), 1)) << address;
    int unacknowledged = 0;
    ASSERT_EQ(::ioctl(client.get(), SIOCOUTQ, &unacknowledged), 0);
    EXPECT_EQ(unacknowledged, 8);
    expect_ok(machine_, release_network);
    ASSERT_TRUE(readable(server.get(), 5000)) << address;
    ASSERT_TRUE(readable(client.get(), 5000)) << address;
    char buffer[16] = {};
    EXPECT_EQ(::recv(server.get(), buffer, sizeof buffer, 0), 8);
    EXPECT_STREQ(buffer, "question");
  }
}

}  // namespace
}  // namespace upkeep::net
