// Sockets without connections: UDP, echo requests, raw, packet and netlink sockets.

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>

#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "fixture.h"
#include "os/tcp_repair.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

struct in6_ifreq {  // of linux/ipv6.h, which does not go with netinet/in.h
  in6_addr ifr6_addr;
  std::uint32_t ifr6_prefixlen;
  int ifr6_ifindex;
};

constexpr int kIcmpFilter = 1;  // ICMP_FILTER of linux/icmp.h

void must(bool holds) {
  if (!holds) ::_exit(1);
}

struct Address {
  Address() = default;
  Address(const char* host, std::uint16_t port) {
    if (::inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
      v4.sin_family = AF_INET;
      v4.sin_port = htons(port);
      size = sizeof v4;
    } else {
      must(::inet_pton(AF_INET6, host, &v6.sin6_addr) == 1);
      v6.sin6_family = AF_INET6;
      v6.sin6_port = htons(port);
      size = sizeof v6;
    }
  }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  std::string text() const {
    char host[INET6_ADDRSTRLEN] = {};
    const bool is_v4 = storage.ss_family == AF_INET;
    ::inet_ntop(storage.ss_family, is_v4 ? static_cast<const void*>(&v4.sin_addr) : &v6.sin6_addr, host,
                sizeof host);
    return fmt::format("{} {}", host, ntohs(is_v4 ? v4.sin_port : v6.sin6_port));
  }
  union {
    sockaddr_storage storage = {};
    sockaddr_in v4;
    sockaddr_in6 v6;
  };
  socklen_t size = sizeof storage;
};

int make(int family, int type = SOCK_DGRAM, int protocol = 0) {
  return ::socket(family, type | SOCK_CLOEXEC, protocol);
}
bool bind_to(int fd, Address address) { return ::bind(fd, address.get(), address.size) == 0; }
bool connect_to(int fd, Address address) { return ::connect(fd, address.get(), address.size) == 0; }
bool send_to(int fd, Address address, std::string_view text) {
  return ::sendto(fd, text.data(), text.size(), 0, address.get(), address.size) ==
         static_cast<ssize_t>(text.size());
}
std::string own_name(int fd) {
  Address address;
  return ::getsockname(fd, address.get(), &address.size) == 0 ? address.text() : std::strerror(errno);
}
std::string peer_name(int fd) {
  Address address;
  return ::getpeername(fd, address.get(), &address.size) == 0 ? address.text() : std::strerror(errno);
}
// "text from host port"
std::string taken(int fd) {
  char text[64] = {};
  Address from;
  const ssize_t size = ::recvfrom(fd, text, sizeof text - 1, MSG_DONTWAIT, from.get(), &from.size);
  return size < 0 ? std::strerror(errno) : fmt::format("{} from {}", text, from.text());
}
template <typename T>
T option(int fd, int level, int name) {
  return os::socket_option<T>(os::Fd(fd), level, name).value_or(T{});
}
template <typename T>
void set(int fd, int level, int name, const T& value) {
  must(::setsockopt(fd, level, name, &value, sizeof value) == 0);
}

// A subject looks when it is asked to, so that it is not stopped in the middle of looking.
bool is_asked() { return board().value[0] != 0; }
void has_looked() { board().value[0] = 0; }
bool ask(const Subject& subject) {
  return poke(subject.pid(), 1, 1) && eventually([&] { return peek(subject.pid(), 1) == 0; });
}

class DatagramSockets : public TreeTest {};

// Options of SOL_SOCKET that a program may have set on any socket, and what each says.
struct SetOption {
  int name;
  std::string value;
};
template <typename Value>
SetOption an_option(int name, Value value) {
  return {name, std::string(reinterpret_cast<const char*>(&value), sizeof value)};
}
const std::vector<SetOption>& some_options() {
  static const std::vector<SetOption> all = {
      an_option(SO_RCVTIMEO, timeval{7, 500'000}),
      an_option(SO_SNDTIMEO, timeval{8, 0}),
      an_option(SO_SELECT_ERR_QUEUE, 1),
      an_option(SO_MAX_PACING_RATE, 1'000'000UL),
      an_option(SO_TIMESTAMPNS, 1),
      {SO_BINDTODEVICE, {'l', 'o', '\0'}},
  };
  return all;
}

TEST_F(DatagramSockets, OptionsOfAllSockets) {
  static constexpr int kFirst = 3, kCount = 5;
  static constexpr unsigned kStamps = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE;
  Subject subject(
      [] {
        must(make(AF_INET) == kFirst && make(AF_INET6) == 4 && make(AF_INET, SOCK_STREAM) == 5);
        must(make(AF_UNIX) == 6 && make(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) == 7);
        for (int fd = kFirst; fd < kFirst + kCount; ++fd) {
          for (const auto& [name, value] : some_options()) {
            if (fd > 5 && name == SO_BINDTODEVICE) continue;
            must(::setsockopt(fd, SOL_SOCKET, name, value.data(), static_cast<socklen_t>(value.size())) == 0);
          }
        }
        must(::setsockopt(4, SOL_SOCKET, SO_TIMESTAMPING, &kStamps, sizeof kStamps) == 0);
      },
      [] {
        for (int fd = kFirst; fd < kFirst + kCount; ++fd) {
          for (const auto& [name, value] : some_options()) {
            if (fd > 5 && name == SO_BINDTODEVICE) continue;
            std::string found(16, '\0');
            socklen_t size = 16;
            HOLDS(::getsockopt(fd, SOL_SOCKET, name, found.data(), &size) == 0);
            HOLDS(found.substr(0, size) == value);
          }
        }
        unsigned stamps[2] = {};
        socklen_t size = sizeof stamps;
        HOLDS(::getsockopt(4, SOL_SOCKET, SO_TIMESTAMPING, stamps, &size) == 0 && stamps[0] == kStamps);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// The kernel tells which packet each is by a number that goes on from the first one.
TEST_F(DatagramSockets, CountedTimeStampsAreRefused) {
  Subject subject([] {
    const unsigned stamps =
        SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID;
    must(make(AF_INET) == 3);
    must(::setsockopt(3, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps) == 0);
  });
  const auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("option 37 of level 1 is not rebuilt by this version"));
}

// setsockopt(2) takes it, getsockopt(2) does not give it.
TEST_F(DatagramSockets, BudgetsOfPollingAreKept) {
  static constexpr int kBudget = 16;
  Subject subject([] {
    must(make(AF_INET) == 3);
    set(3, SOL_SOCKET, SO_BUSY_POLL, 50), set(3, SOL_SOCKET, SO_BUSY_POLL_BUDGET, kBudget);
  });
  ASSERT_TRUE(carry(subject));
  const auto after = inspect_trees({subject.pid()}, false);
  ASSERT_OK(after);
  std::vector<int> budgets;
  for (const auto& file : after->snapshot.files) {
    for (const auto& one : file.socket ? file.socket->options : std::vector<SocketOption>()) {
      int value = 0;
      std::memcpy(&value, one.value.data.data(), std::min(sizeof value, one.value.data.size()));
      if (one.level == SOL_SOCKET && one.name == SO_BUSY_POLL_BUDGET) budgets.push_back(value);
    }
  }
  EXPECT_EQ(budgets, std::vector{kBudget});
}

TEST_F(DatagramSockets, WhatOnlyTheKernelKnowsOfOneIsRefused) {
  // In a network of its own. 3: a program chooses among those at its port; 4: an interface by number; 5: an
  // anycast group; 6: none of these
  Subject subject([] {
    sock_filter first = {BPF_RET | BPF_K, 0, 0, 0};
    const sock_fprog program = {1, &first};
    must(::unshare(CLONE_NEWNET) == 0);
    must(make(AF_INET) == 3 && make(AF_INET) == 4 && make(AF_INET6) == 5 && make(AF_INET) == 6);
    ifreq loopback = {};
    loopback.ifr_name[0] = 'l', loopback.ifr_name[1] = 'o';
    loopback.ifr_flags = IFF_UP | IFF_RUNNING;
    must(::ioctl(3, SIOCSIFFLAGS, &loopback) == 0);
    for (const int fd : {3, 6}) set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    must(bind_to(3, {"127.0.0.1", 41101}) && bind_to(6, {"127.0.0.1", 41102}));
    set(3, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program);
    const auto number = ::if_nametoindex("lo");
    set(4, IPPROTO_IP, IP_MULTICAST_IF, ip_mreqn{{}, {}, static_cast<int>(number)});
    in6_ifreq address = {{}, 64, static_cast<int>(number)};
    ipv6_mreq group = {{}, number};
    must(::inet_pton(AF_INET6, "fd00::1", &address.ifr6_addr) == 1 && ::ioctl(5, SIOCSIFADDR, &address) == 0);
    must(::inet_pton(AF_INET6, "fd00::2", &group.ipv6mr_multiaddr) == 1);
    set(5, IPPROTO_IPV6, IPV6_JOIN_ANYCAST, group);
  });
  const auto seen = inspect_trees({subject.pid()}, false);
  ASSERT_OK(seen);
  std::map<std::string, std::string> refused;
  for (const auto& [pid, what, why, remedy] : seen->snapshot.obstacles) refused[what.substr(0, 12)] += why;
  EXPECT_THAT(refused["descriptor 3"], HasSubstr("a BPF program chooses"));
  EXPECT_THAT(refused["descriptor 4"], HasSubstr("named by number (IP_MULTICAST_IF)"));
  EXPECT_THAT(refused["descriptor 5"], HasSubstr("anycast group"));
  EXPECT_EQ(refused.count("descriptor 6"), 0U) << refused["descriptor 6"];
}

TEST_F(DatagramSockets, UdpOfBothFamilies) {
  // 3 is bound to one address, 4 to any, 5 connected to 3, 6 to nothing; 7 and 8: IPv6, 8 connected to 7; 9:
  // both families
  Subject subject(
      [] {
        for (int i = 0; i < 4; ++i) must(make(AF_INET) == 3 + i);
        for (int i = 0; i < 3; ++i) must(make(AF_INET6) == 7 + i);
        must(bind_to(3, {"127.0.0.7", 41003}) && bind_to(4, {"0.0.0.0", 41004}));
        must(bind_to(5, {"127.0.0.7", 41005}) && connect_to(5, {"127.0.0.7", 41003}));
        must(bind_to(7, {"::1", 41007}) && bind_to(9, {"::", 41009}) && connect_to(8, {"::1", 41007}));
        set(3, IPPROTO_IP, IP_TOS, 0x10), set(6, SOL_SOCKET, SO_BROADCAST, 1), set(4, SOL_UDP, UDP_GRO, 1);
      },
      [] {
        HOLDS(own_name(3) == "127.0.0.7 41003" && own_name(4) == "0.0.0.0 41004");
        HOLDS(own_name(5) == "127.0.0.7 41005" && peer_name(5) == "127.0.0.7 41003");
        HOLDS(own_name(6) == "0.0.0.0 0" && own_name(7) == "::1 41007" && peer_name(8) == "::1 41007");
        HOLDS(::send(5, "ping", 4, 0) == 4 && taken(3) == "ping from 127.0.0.7 41005");
        HOLDS(send_to(3, {"127.0.0.7", 41005}, "pong") && taken(5) == "pong from 127.0.0.7 41003");
        HOLDS(send_to(3, {"127.0.0.9", 41004}, "any") && taken(4) == "any from 127.0.0.7 41003");
        HOLDS(send_to(3, {"127.0.0.1", 41009}, "both") && taken(9) == "both from ::ffff:127.0.0.7 41003");
        HOLDS(::send(8, "six", 3, 0) == 3 && taken(7).starts_with("six from ::1 "));
        HOLDS(option<int>(3, IPPROTO_IP, IP_TOS) == 0x10 && option<int>(6, SOL_SOCKET, SO_BROADCAST) == 1);
        HOLDS(option<int>(4, SOL_UDP, UDP_GRO) == 1);
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject)) << "a second time";
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(DatagramSockets, WhatUdpHasNotRead) {
  Subject subject(
      [] {
        must(make(AF_INET) == 3 && bind_to(3, {"0.0.0.0", 41013}));
        must(make(AF_INET) == 4 && bind_to(4, {"127.0.0.7", 41014}) && connect_to(4, {"127.0.0.8", 41015}));
        must(make(AF_INET6) == 5 && bind_to(5, {"::", 41016}));
      },
      [] {
        if (!is_asked()) return;
        HOLDS(taken(3) == "one from 127.0.0.8 41015" && taken(3) == " from 127.0.0.8 41015");
        HOLDS(taken(3) == "three from 127.0.0.8 41015" && taken(3) == std::strerror(EAGAIN));
        HOLDS(taken(4) == "connected from 127.0.0.8 41015" && taken(4) == std::strerror(EAGAIN));
        HOLDS(taken(5) == "mapped from ::ffff:127.0.0.8 41015" && taken(5) == "six from ::1 41017");
        has_looked();
      });
  const os::UniqueFd sender(make(AF_INET)), six(make(AF_INET6));
  ASSERT_TRUE(bind_to(sender.get(), {"127.0.0.8", 41015}) && bind_to(six.get(), {"::1", 41017}));
  for (const char* text : {"one", "", "three"})
    ASSERT_TRUE(send_to(sender.get(), {"127.0.0.1", 41013}, text));
  ASSERT_TRUE(send_to(sender.get(), {"127.0.0.7", 41014}, "connected"));
  ASSERT_TRUE(send_to(sender.get(), {"127.0.0.1", 41016}, "mapped"));
  ASSERT_TRUE(send_to(six.get(), {"::1", 41016}, "six"));
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(ask(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// Which of two that share a port gets a datagram is the kernel's choice.
TEST_F(DatagramSockets, UnreadOnASharedPortIsRefused) {
  Subject subject([] {
    for (int fd : {3, 4}) {
      must(make(AF_INET) == fd);
      set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
      must(bind_to(fd, {"127.0.0.7", 41023}));
    }
  });
  ASSERT_TRUE(carry(subject));
  const os::UniqueFd sender(make(AF_INET));
  ASSERT_TRUE(send_to(sender.get(), {"127.0.0.7", 41023}, "whose?"));
  ASSERT_TRUE(os::remove_tree(images()));
  const auto saved = save_trees({subject.pid()}, images(), true);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("datagrams that it has not read could not be delivered"));
}

TEST_F(DatagramSockets, MulticastGroups) {
  const auto loopback = ::if_nametoindex("lo");
  Subject subject(
      [loopback] {
        must(make(AF_INET) == 3 && bind_to(3, {"0.0.0.0", 41033}) && make(AF_INET6) == 4);
        ip_mreqn all = {};
        all.imr_ifindex = static_cast<int>(loopback);
        must(::inet_pton(AF_INET, "239.1.2.3", &all.imr_multiaddr) == 1);
        set(3, IPPROTO_IP, IP_ADD_MEMBERSHIP, all);
        group_source_req one = {};
        one.gsr_interface = loopback;
        one.gsr_group = Address("239.1.2.4", 0).storage, one.gsr_source = Address("127.0.0.9", 0).storage;
        set(3, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, one);
        one.gsr_group = Address("239.1.2.3", 0).storage;
        set(3, IPPROTO_IP, MCAST_BLOCK_SOURCE, one);
        group_req six = {};
        six.gr_interface = loopback, six.gr_group = Address("ff15::77", 0).storage;
        set(4, IPPROTO_IPV6, MCAST_JOIN_GROUP, six);
        set(4, IPPROTO_IPV6, IPV6_MULTICAST_IF, static_cast<int>(loopback));
        set(3, IPPROTO_IP, IP_MULTICAST_TTL, 7);
      },
      [loopback] {
        HOLDS(option<int>(4, IPPROTO_IPV6, IPV6_MULTICAST_IF) == static_cast<int>(loopback));
        HOLDS(option<int>(3, IPPROTO_IP, IP_MULTICAST_TTL) == 7);
      });
  auto groups = [&](int fd, const char* group) {
    const auto borrowed = os::open_pidfd(subject.pid());
    const os::UniqueFd socket(static_cast<int>(::syscall(SYS_pidfd_getfd, borrowed->get(), fd, 0)));
    std::vector<std::uint8_t> answer(GROUP_FILTER_SIZE(8));
    auto* filter = reinterpret_cast<group_filter*>(answer.data());
    filter->gf_interface = loopback, filter->gf_group = Address(group, 0).storage, filter->gf_numsrc = 8;
    auto size = static_cast<socklen_t>(answer.size());
    if (::getsockopt(socket.get(), fd == 3 ? IPPROTO_IP : IPPROTO_IPV6, MCAST_MSFILTER, filter, &size) < 0)
      return std::string("none");
    return fmt::format("{} {}", filter->gf_fmode == MCAST_EXCLUDE ? "all but" : "only", filter->gf_numsrc);
  };
  for (const char* when : {"before", "afterwards"}) {
    EXPECT_EQ(groups(3, "239.1.2.3"), "all but 1") << when;
    EXPECT_EQ(groups(3, "239.1.2.4"), "only 1") << when;
    EXPECT_EQ(groups(3, "239.1.2.5"), "none") << when;
    EXPECT_EQ(groups(4, "ff15::77"), "all but 0") << when;
    if (std::string_view(when) != "before") continue;
    ASSERT_TRUE(carry(subject));
  }
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(DatagramSockets, RawAndEcho) {
  // 3 takes every ICMP packet but echo replies, 4 sends echo requests, 5 is raw over IPv6
  Subject subject(
      [] {
        must(make(AF_INET, SOCK_RAW, IPPROTO_ICMP) == 3 && make(AF_INET, SOCK_RAW, IPPROTO_RAW) == 4);
        must(make(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6) == 5 && bind_to(3, {"127.0.0.7", 0}));
        set(3, SOL_RAW, kIcmpFilter, 1U << ICMP_ECHOREPLY);
        icmp6_filter nothing;
        ICMP6_FILTER_SETBLOCKALL(&nothing);
        set(5, IPPROTO_ICMPV6, ICMP6_FILTER, nothing);
        must(connect_to(3, {"127.0.0.8", 0}));
      },
      [] {
        HOLDS(option<unsigned>(3, SOL_RAW, kIcmpFilter) == 1U << ICMP_ECHOREPLY);
        HOLDS(option<icmp6_filter>(5, IPPROTO_ICMPV6, ICMP6_FILTER).icmp6_filt[0] == ~0U);
        HOLDS(own_name(3).starts_with("127.0.0.7 "));
        HOLDS(option<int>(4, IPPROTO_IP, IP_HDRINCL) == 1 && option<int>(3, IPPROTO_IP, IP_HDRINCL) == 0);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  const auto list = os::read_file("/proc/net/raw");
  ASSERT_OK(list);
  EXPECT_THAT(*list, HasSubstr("0700007F:0001 0800007F:0000")) << "it is connected to nobody any more";
}

TEST_F(DatagramSockets, Echo) {
  const auto range = os::read_file("/proc/sys/net/ipv4/ping_group_range");
  ASSERT_OK(range);
  ASSERT_OK(os::write_value("/proc/sys/net/ipv4/ping_group_range", "0 0"));
  Subject subject(
      [] {
        must(make(AF_INET, SOCK_DGRAM, IPPROTO_ICMP) == 3 && bind_to(3, {"127.0.0.1", 4103}));
      },
      [] {
        if (!is_asked()) return;
        icmphdr request = {};
        request.type = ICMP_ECHO;
        Address to("127.0.0.1", 0);
        HOLDS(::sendto(3, &request, sizeof request, 0, to.get(), to.size) == sizeof request);
        icmphdr reply = {};
        HOLDS(::recv(3, &reply, sizeof reply, 0) == sizeof reply && reply.type == ICMP_ECHOREPLY);
        HOLDS(ntohs(reply.un.echo.id) == 4103);
        has_looked();
      });
  ASSERT_OK(os::write_value("/proc/sys/net/ipv4/ping_group_range", "1 0"));  // as a kernel begins
  EXPECT_TRUE(carry(subject));
  EXPECT_EQ(os::read_file("/proc/sys/net/ipv4/ping_group_range").value_or(""), "1\t0\n");
  EXPECT_TRUE(ask(subject));
  EXPECT_NO_COMPLAINT(subject);
  ASSERT_OK(os::write_value("/proc/sys/net/ipv4/ping_group_range", *range));
}

// As a DHCP client has it: for one interface, promiscuous, and only what a filter lets pass.
TEST_F(DatagramSockets, Packets) {
  const auto loopback = ::if_nametoindex("lo");
  Subject subject(
      [loopback] {
        must(make(AF_PACKET, SOCK_RAW, 0) == 3 && make(AF_PACKET, SOCK_DGRAM, 0) == 4);
        sock_filter nothing[] = {{BPF_RET | BPF_K, 0, 0, 0}};
        set(3, SOL_SOCKET, SO_ATTACH_FILTER, sock_fprog{1, nothing});
        set(3, SOL_SOCKET, SO_LOCK_FILTER, 1);
        packet_mreq promiscuous = {};
        promiscuous.mr_ifindex = static_cast<int>(loopback), promiscuous.mr_type = PACKET_MR_PROMISC;
        set(3, SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuous);
        set(3, SOL_PACKET, PACKET_AUXDATA, 1);
        sockaddr_ll address = {};
        address.sll_family = AF_PACKET, address.sll_protocol = htons(ETH_P_ARP);
        address.sll_ifindex = static_cast<int>(loopback);
        must(::bind(3, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
      },
      [loopback] {
        for (int fd : {3, 4}) {
          sockaddr_ll address = {};
          socklen_t size = sizeof address;
          HOLDS(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
          HOLDS(address.sll_protocol == (fd == 3 ? htons(ETH_P_ARP) : 0));
          HOLDS(address.sll_ifindex == (fd == 3 ? static_cast<int>(loopback) : 0));
        }
        HOLDS(option<int>(3, SOL_PACKET, PACKET_AUXDATA) == 1 &&
              option<int>(3, SOL_SOCKET, SO_LOCK_FILTER) == 1);
        socklen_t instructions = 0;
        HOLDS(::getsockopt(3, SOL_SOCKET, SO_GET_FILTER, nullptr, &instructions) == 0 && instructions == 1);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  const auto seen = inspect_trees({subject.pid()}, true);
  ASSERT_OK(seen);
  for (const auto& file : seen->snapshot.files) {
    if (!file.socket || file.socket->interface != "lo") continue;
    EXPECT_EQ(file.socket->packet_memberships.size(), 1U) << "it is not promiscuous any more";
  }
}

TEST_F(DatagramSockets, Netlink) {
  Subject subject(
      [] {
        must(make(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) == 3 &&
             make(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK) == 4);
        sockaddr_nl address = {};
        address.nl_family = AF_NETLINK, address.nl_pid = 4711, address.nl_groups = RTMGRP_LINK;
        must(::bind(3, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        set(3, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, int{RTNLGRP_NEXTHOP});
        set(3, SOL_NETLINK, NETLINK_EXT_ACK, 1);
      },
      [] {
        char answer[65536];
        if (!is_asked()) {  // other tests change links
          while (::recv(3, answer, sizeof answer, MSG_DONTWAIT) > 0) {
          }
          return;
        }
        sockaddr_nl address = {};
        socklen_t size = sizeof address;
        HOLDS(::getsockname(3, reinterpret_cast<sockaddr*>(&address), &size) == 0);
        HOLDS(address.nl_pid == 4711 && (address.nl_groups & RTMGRP_LINK) != 0);
        HOLDS(option<int>(3, SOL_NETLINK, NETLINK_EXT_ACK) == 1);
        std::uint32_t groups[8] = {};
        size = sizeof groups;
        HOLDS(::getsockopt(3, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups, &size) == 0);
        HOLDS((groups[0] & 1U << (RTNLGRP_LINK - 1)) != 0);
        HOLDS((groups[(RTNLGRP_NEXTHOP - 1) / 32] >> (RTNLGRP_NEXTHOP - 1) % 32 & 1U) == 1);
        // The kernel answers it.
        struct {
          nlmsghdr header;
          rtgenmsg message;
        } request = {};
        request.header.nlmsg_len = sizeof request, request.header.nlmsg_type = RTM_GETLINK;
        request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        HOLDS(::send(3, &request, sizeof request, 0) == sizeof request);
        bool done = false;
        while (!done) {
          const auto got = ::recv(3, answer, sizeof answer, 0);
          HOLDS(got > 0);
          if (got <= 0) break;
          done = reinterpret_cast<nlmsghdr*>(answer)->nlmsg_type == NLMSG_DONE;
        }
        has_looked();
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(ask(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(DatagramSockets, NetlinkWithStateInTheKernelIsRefused) {
  Subject subject([] { must(make(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC) == 3); });
  const auto saved = save_trees({subject.pid()}, images(), true);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("numbers its families otherwise in every kernel"));
}

}  // namespace
}  // namespace upkeep::engine
