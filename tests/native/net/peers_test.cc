#include <gmock/gmock.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "connection.h"
#include "namespace.h"
#include "net/hold.h"
#include "net/prod.h"
#include "net/tcp_peers.h"

namespace upkeep::net {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

template <typename T>
T option(const os::UniqueFd& fd, int level, int name) {
  T value = {};
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(fd.get(), level, name, &value, &size), 0) << std::strerror(errno);
  return value;
}

std::uint16_t port_of(const os::UniqueFd& fd) {
  const auto name = name_of(fd);
  std::uint16_t port = 0;
  std::memcpy(&port, reinterpret_cast<const char*>(&name.storage) + 2,
              sizeof port);  // the same place in both families
  return ntohs(port);
}

class PeersTest : public testing::Test {
 protected:
  void SetUp() override {
    machine_.ip({"link set lo up", "link add e0 type veth peer name p0",
                 "link set p0 netns " + outside_.path(), "link set e0 up", "addr add 10.1.0.1/24 dev e0",
                 "addr add 2001:db8:1::1/64 dev e0 nodad"});
    outside_.ip({"link set p0 up", "addr add 10.1.0.9/24 dev p0", "addr add 2001:db8:1::9/64 dev p0 nodad"});
  }
  std::map<std::uint16_t, TcpPeer> by_local_port(const std::vector<pid_t>& pids) {
    std::map<std::uint16_t, TcpPeer> found;
    auto peers = collect_tcp_peers(pids);
    EXPECT_TRUE(peers) << peers.error().message();
    for (auto& peer : *peers)
      EXPECT_TRUE(found.emplace(peer.local_port, peer).second) << "twice: " << peer.local_port;
    return found;
  }
  Namespace machine_ = Namespace::make(), outside_ = Namespace::make();
};

TEST_F(PeersTest, EachConnectionIsFoundOnceWithItsSequenceNumbers) {
  auto [server, client] = connection(machine_, "10.1.0.1", outside_);
  auto [server6, client6] = connection(machine_, "2001:db8:1::1", outside_);
  auto listener = bound_socket(machine_, SOCK_STREAM, "10.1.0.1");
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  auto datagrams = datagram_socket(machine_, "10.1.0.1");
  // A child that has the same sockets, and one more descriptor of one here.
  int blocked[2];
  ASSERT_EQ(::pipe2(blocked, O_CLOEXEC), 0);
  os::UniqueFd hold_child(blocked[1]), wait_end(blocked[0]), again(::dup(server.get()));
  auto child = os::fork_child([&] {
    hold_child.reset();
    char byte;
    return ::read(wait_end.get(), &byte, 1) == 0 ? 0 : 1;
  });
  ASSERT_TRUE(child);

  auto found = by_local_port({::getpid(), child->pid});
  EXPECT_EQ(found.size(),
            4U);  // both ends of both are ours; neither the listener nor the datagram socket is there
  const TcpPeer peer = found[port_of(server)], peer6 = found[port_of(server6)];
  EXPECT_EQ(peer.family, AF_INET);
  EXPECT_EQ(peer.local, "10.1.0.1");
  EXPECT_EQ(peer.peer, "10.1.0.9");
  EXPECT_EQ(peer.peer_port, port_of(client));
  EXPECT_EQ(peer6.family, AF_INET6);
  EXPECT_EQ(peer6.peer, "2001:db8:1::9");
  // Ten bytes later it is ten more.
  ASSERT_EQ(::send(client.get(), "0123456789", 10, 0), 10);
  char buffer[10];
  ASSERT_EQ(::recv(server.get(), buffer, sizeof buffer, MSG_WAITALL), 10);
  found = by_local_port({child->pid});
  EXPECT_EQ(found[port_of(server)].receive_next, peer.receive_next + 10);
  EXPECT_LE(found[port_of(server)].acknowledged - peer.receive_next, 10U);
  hold_child.reset();
  EXPECT_TRUE(os::wait_child(*child, std::chrono::seconds(5))->success());
}

TEST_F(PeersTest, SocketsAreLeftAsTheyWere) {
  auto [plain, client1] = connection(machine_, "10.1.0.1", outside_);
  auto [repaired, client2] = connection(machine_, "10.1.0.1", outside_);
  const int on = 1, queue = TCP_SEND_QUEUE;
  ASSERT_EQ(::setsockopt(plain.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
  ASSERT_EQ(::setsockopt(repaired.get(), IPPROTO_TCP, TCP_REPAIR, &on, sizeof on), 0) << std::strerror(errno);
  ASSERT_EQ(::setsockopt(repaired.get(), IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof queue), 0);
  const auto segments = option<tcp_info>(plain, IPPROTO_TCP, TCP_INFO).tcpi_segs_out;

  EXPECT_EQ(by_local_port({::getpid()}).size(), 4U);
  EXPECT_EQ(option<int>(plain, IPPROTO_TCP, TCP_REPAIR), 0);
  EXPECT_EQ(option<int>(plain, SOL_SOCKET, SO_REUSEADDR), 1);
  EXPECT_EQ(option<tcp_info>(plain, IPPROTO_TCP, TCP_INFO).tcpi_segs_out, segments);  // no window probe
  EXPECT_EQ(option<int>(repaired, IPPROTO_TCP, TCP_REPAIR), 1);
  EXPECT_EQ(option<int>(repaired, IPPROTO_TCP, TCP_REPAIR_QUEUE), queue);
}

int unacknowledged(const os::UniqueFd& socket) {
  int bytes = 0;
  EXPECT_EQ(::ioctl(socket.get(), SIOCOUTQ, &bytes), 0);
  return bytes;
}

// Of two connections only the one whose peer has no room left has something to ask.
TEST_F(PeersTest, OnlyThoseWithSomethingToSendProbe) {
  auto [idle, client1] = connection(machine_, "10.1.0.1", outside_);
  auto [stuck, client2] = connection(machine_, "10.1.0.1", outside_);
  const int on = 1;
  ASSERT_EQ(::setsockopt(stuck.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
  const std::string data(1 << 20, 'x');
  while (::send(stuck.get(), data.data(), data.size(), MSG_DONTWAIT) > 0) continue;
  ASSERT_EQ(errno, EAGAIN);
  for (int tries = 0; tries < 1000 && unacknowledged(idle) + unacknowledged(client1) > 0; ++tries)
    ::usleep(5000);
  const auto idle_before = option<tcp_info>(idle, IPPROTO_TCP, TCP_INFO).tcpi_segs_out;
  const auto stuck_before = option<tcp_info>(stuck, IPPROTO_TCP, TCP_INFO).tcpi_segs_out;

  const auto probes = probe_windows({::getpid()});
  ASSERT_TRUE(probes) << probes.error().message();
  EXPECT_EQ(*probes, 1U);
  EXPECT_EQ(option<tcp_info>(idle, IPPROTO_TCP, TCP_INFO).tcpi_segs_out, idle_before);
  EXPECT_GT(option<tcp_info>(stuck, IPPROTO_TCP, TCP_INFO).tcpi_segs_out, stuck_before);
  EXPECT_EQ(option<int>(stuck, SOL_SOCKET, SO_REUSEADDR), 1);
  EXPECT_EQ(option<int>(stuck, IPPROTO_TCP, TCP_REPAIR), 0);
}

TEST_F(PeersTest, MappedAddressesAreIpv4) {
  auto listener = bound_socket(machine_, SOCK_STREAM, "::");
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  os::UniqueFd client;
  outside_.in([&] {
    const auto address = socket_address("10.1.0.1", port_of(listener));
    client = os::UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(client.get(), address.get(), address.size), 0);
  });
  os::UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  auto peers = collect_tcp_peers({::getpid()});
  ASSERT_TRUE(peers);
  auto found = std::find_if(peers->begin(), peers->end(),
                            [&](const auto& p) { return p.peer_port == port_of(client); });
  ASSERT_NE(found, peers->end());
  EXPECT_EQ(found->family, AF_INET);
  EXPECT_EQ(found->local, "10.1.0.1");
  EXPECT_EQ(found->peer, "10.1.0.9");
}

TEST_F(PeersTest, TasksThatAreGoneHaveNone) {
  auto child = os::fork_child([] { return 0; });
  ASSERT_TRUE(child);
  ASSERT_TRUE(os::wait_child(*child, std::chrono::seconds(5)));
  auto peers = collect_tcp_peers({child->pid});
  ASSERT_TRUE(peers) << peers.error().message();
  EXPECT_THAT(*peers, testing::IsEmpty());
}

// Four peers back off against a held network; one of each family is prodded when it opens.
TEST_F(PeersTest, ProddedPeersSendAtOnce) {
  struct End {
    os::UniqueFd server, client;
    bool prodded;
    Clock::time_point heard;
  };
  std::vector<End> ends;
  for (const char* address : {"10.1.0.1", "2001:db8:1::1"}) {
    for (bool prodded : {true, false}) {
      auto [server, client] = connection(machine_, address, outside_);
      ends.push_back({std::move(server), std::move(client), prodded, {}});
    }
  }
  bool held = false;
  machine_.in([&] { held = hold_network().has_value(); });
  if (!held) GTEST_SKIP() << "this kernel has no nf_tables";
  auto found = by_local_port({::getpid()});
  std::vector<TcpPeer> peers;
  for (const auto& end : ends) {
    if (end.prodded) peers.push_back(found[port_of(end.server)]);
    ASSERT_EQ(::send(end.client.get(), "numbered write", 14, 0), 14);
  }
  // Four doublings: 3 s of silence, and the next try some 3 s away.
  const auto limit = Clock::now() + std::chrono::seconds(30);
  auto doublings = [](const End& end) {
    return option<tcp_info>(end.client, IPPROTO_TCP, TCP_INFO).tcpi_backoff;
  };
  while (std::any_of(ends.begin(), ends.end(), [&](const End& end) { return doublings(end) < 4; })) {
    ASSERT_LT(Clock::now(), limit);
    ::poll(nullptr, 0, 5);
  }
  // A message takes effect at once where the peer is overdue by its first timeout (200 ms): let that pass.
  ::poll(nullptr, 0, 250);
  const auto opened = Clock::now();
  machine_.in([&] {
    ASSERT_TRUE(release_network());
    auto prodded = prod_peers(peers);
    ASSERT_TRUE(prodded) << prodded.error().message();
    EXPECT_EQ(prodded->peers, 2U);
    EXPECT_GE(prodded->messages, 16U);
    EXPECT_THAT(prodded->warnings, testing::IsEmpty());
  });
  for (std::size_t left = ends.size(); left > 0;) {
    std::vector<pollfd> fds;
    for (const auto& end : ends)
      fds.push_back({end.heard == Clock::time_point() ? end.server.get() : -1, POLLIN, 0});
    ASSERT_GT(::poll(fds.data(), fds.size(), 20000), 0);
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (fds[i].revents == 0) continue;
      ends[i].heard = Clock::now();
      --left;
    }
  }
  for (std::size_t i = 0; i < ends.size(); ++i) {
    const auto& end = ends[i];
    const auto silence = std::chrono::duration_cast<milliseconds>(end.heard - opened);
    RecordProperty(fmt::format("{}{}_ms", end.prodded ? "prodded" : "left_alone", i),
                   static_cast<int>(silence.count()));
    // 25 ms and 3.1 s on an idle machine: the next try of its own is never less than a doubled 1.6 s away.
    if (end.prodded) {
      EXPECT_LT(silence, milliseconds(1000));
    } else {
      EXPECT_GT(silence, milliseconds(1500));
    }
    char buffer[32] = {};
    EXPECT_EQ(::recv(end.server.get(), buffer, sizeof buffer, 0), 14);
  }
}

}  // namespace
}  // namespace upkeep::net
