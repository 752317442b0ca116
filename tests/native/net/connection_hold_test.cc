// Some connections stand still, and others go on.

#include "net/connection_hold.h"

#include <gtest/gtest.h>

#include "connection.h"
#include "namespace.h"

namespace upkeep::net {
namespace {

class Holding : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    where_ = Namespace::make();
    where_.ip({"link set lo up"});
  }
  TcpPeer name(const os::UniqueFd& fd) const {
    const auto local = name_of(fd);
    SocketAddress remote;
    remote.size = sizeof remote.storage;
    EXPECT_EQ(::getpeername(fd.get(), remote.get(), &remote.size), 0);
    auto port = [](const SocketAddress& address) {
      return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
    };
    TcpPeer peer;
    peer.family = local.storage.ss_family;
    peer.local = peer.peer = GetParam();
    peer.local_port = port(local);
    peer.peer_port = port(remote);
    return peer;
  }
  static bool arrives(const os::UniqueFd& from, const os::UniqueFd& to, int milliseconds) {
    const timeval limit = {milliseconds / 1000, milliseconds % 1000 * 1000};
    ::setsockopt(to.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char byte = 0;
    return ::send(from.get(), "x", 1, MSG_NOSIGNAL) == 1 && ::recv(to.get(), &byte, 1, 0) == 1;
  }
  Namespace where_;
};

TEST_P(Holding, HeldOnesStandStillOthersGoOn) {
  auto held = connection(where_, GetParam(), where_), other = connection(where_, GetParam(), where_);
  where_.in([&] {
    auto hold = ConnectionHold::begin({name(held.first)});
    ASSERT_TRUE(hold) << hold.error().message();
    EXPECT_FALSE(arrives(held.first, held.second, 100));
    EXPECT_FALSE(arrives(held.second, held.first, 100));
    EXPECT_TRUE(arrives(other.first, other.second, 20'000));
    EXPECT_TRUE(arrives(other.second, other.first, 20'000));
    ASSERT_TRUE(hold->keep("upkeep-test"));
  });
  where_.in([&] {
    EXPECT_FALSE(arrives(held.first, held.second, 100)) << "it was to be kept";
    ASSERT_TRUE(release_connections("upkeep-test"));
    ASSERT_TRUE(release_connections("upkeep-test"));
    EXPECT_TRUE(arrives(held.first, held.second, 20'000));
    EXPECT_TRUE(arrives(held.second, held.first, 20'000));
  });
}

TEST_P(Holding, EndsWithItsOwner) {
  auto held = connection(where_, GetParam(), where_);
  where_.in([&] {
    {
      auto hold = ConnectionHold::begin({name(held.first)});
      ASSERT_TRUE(hold) << hold.error().message();
    }
    EXPECT_TRUE(arrives(held.first, held.second, 20'000));
  });
}

TEST_P(Holding, ThousandsAtOnce) {
  where_.in([&] {
    std::vector<TcpPeer> many;
    for (std::uint16_t port = 1024; port < 21'024; ++port) {
      TcpPeer peer;
      peer.family = std::string_view(GetParam()).find(':') == std::string_view::npos ? AF_INET : AF_INET6;
      peer.local = peer.peer = GetParam();
      peer.local_port = port;
      peer.peer_port = 80;
      many.push_back(peer);
    }
    auto hold = ConnectionHold::begin(many);
    ASSERT_TRUE(hold) << hold.error().message();
  });
}
INSTANTIATE_TEST_SUITE_P(Families, Holding, ::testing::Values("127.0.0.1", "::1"));

}  // namespace
}  // namespace upkeep::net
