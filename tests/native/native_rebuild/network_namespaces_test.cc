// Network namespaces as PrivateNetwork= makes them, and others.

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "fixture.h"
#include "os/namespace.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

using NetworkNamespaces = TreeTest;

void must(bool holds) {
  if (!holds) ::_exit(1);
}

short flags_of(const char* link) {
  const os::UniqueFd fd(::socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request = {};
  std::strncpy(request.ifr_name, link, IFNAMSIZ - 1);
  return ::ioctl(fd.get(), SIOCGIFFLAGS, &request) < 0 ? short{-1} : request.ifr_flags;
}

void own_network(bool up) {
  must(::unshare(CLONE_NEWNET) == 0);
  if (up) must(static_cast<bool>(os::run_checked({"ip", "link", "set", "lo", "up"})));
}

sockaddr_in loopback(in_port_t port) {
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return name;
}
const sockaddr* generic(const sockaddr_in& name) { return reinterpret_cast<const sockaddr*>(&name); }

// 3 listens, 4 is connected to it.
void connect_inside() {
  auto name = loopback(0);
  socklen_t size = sizeof name;
  must(::socket(AF_INET, SOCK_STREAM, 0) == 3 && ::bind(3, generic(name), size) == 0);
  must(::listen(3, 1) == 0 && ::getsockname(3, reinterpret_cast<sockaddr*>(&name), &size) == 0);
  must(::socket(AF_INET, SOCK_STREAM, 0) == 4 && ::connect(4, generic(name), size) == 0);
}

std::string abstract_listeners() {
  const auto text = os::read_file("/proc/thread-self/net/unix").value_or("");
  return text.find("@upkeep-inside") == std::string::npos ? "" : "there";
}

TEST_F(NetworkNamespaces, OnlyALoopbackDevice) {
  Subject subject(
      [] {
        own_network(true);
        must(static_cast<bool>(os::write_value("/proc/sys/net/ipv4/ip_forward", "1")));
        const auto name = loopback(5555);
        must(::socket(AF_INET, SOCK_DGRAM, 0) == 3 && ::bind(3, generic(name), sizeof name) == 0);
        must(::connect(3, generic(name), sizeof name) == 0);
        must(::socket(AF_UNIX, SOCK_STREAM, 0) == 4);
        const sockaddr_un own = {AF_UNIX, "\0upkeep-inside"};
        must(::bind(4, reinterpret_cast<const sockaddr*>(&own), sizeof(sa_family_t) + 14) == 0);
        must(::listen(4, 1) == 0);
        must(::send(3, "unread", 6, 0) == 6);
      },
      [] {
        HOLDS((flags_of("lo") & IFF_UP) != 0);
        char text[16] = {};
        HOLDS(::recv(3, text, sizeof text, MSG_PEEK) == 6 && std::strcmp(text, "unread") == 0);
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_NE(os::namespace_id(subject.pid(), "net").value_or(0), os::namespace_id(0, "net").value_or(0));
  EXPECT_TRUE(abstract_listeners().empty()) << "it is in the network of the restorer";
  // Not by the subject: files of its network that it has open when it is stopped are refused.
  const auto network = os::open_namespace(subject.pid(), "net");
  ASSERT_TRUE(network);
  const auto inside = os::in_namespace(*network, "net", [] {
    return Result<std::string>(os::read_file("/proc/sys/net/ipv4/ip_forward").value_or("") +
                               abstract_listeners());
  });
  EXPECT_EQ(inside.value_or(""), "1\nthere");
}

TEST_F(NetworkNamespaces, WhereNothingIsUp) {
  Subject subject([] { own_network(false); }, [] { HOLDS((flags_of("lo") & IFF_UP) == 0); });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(NetworkNamespaces, ASettingThatIsOpenIsNamed) {
  Subject subject([] {
    own_network(true);
    must(::open("/proc/sys/net/ipv4/ip_forward", O_RDONLY) == 3);
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("a setting of a network namespace of its own"));
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(NetworkNamespaces, OtherDevicesAreNamed) {
  Subject subject([] {
    own_network(true);
    must(static_cast<bool>(os::run_checked({"ip", "link", "add", "inside", "type", "bridge"})));
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("link inside: only the loopback device"));
  EXPECT_TRUE(moves(subject.pid()));
}

// Both ends of a connection in it, with data on its way: nobody outside has to hold anything.
TEST_F(NetworkNamespaces, AConnectionInside) {
  Subject subject(
      [] {
        own_network(true);
        connect_inside();
        must(::accept(3, nullptr, nullptr) == 5);
        for (std::uint32_t number = 0; number < 1000; ++number)
          must(::send(4, &number, sizeof number, 0) == sizeof number);
        board().value[1] = 1000;
      },
      [] {
        auto sent = static_cast<std::uint32_t>(board().value[1].fetch_add(1));
        HOLDS(::send(4, &sent, sizeof sent, MSG_NOSIGNAL) == sizeof sent);
        std::uint32_t got = 0;
        HOLDS(::recv(5, &got, sizeof got, MSG_WAITALL) == sizeof got);
        HOLDS(got == board().value[2].fetch_add(1));
      });
  for (int carries = 0; carries < 4; ++carries) ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// What waits to be accepted is not carried. Its client has asked for something, waits for the answer, and
// hears that there is none.
TEST_F(NetworkNamespaces, WhoeverWaitsInItHearsOfIt) {
  Subject subject(
      [] {
        own_network(true);
        connect_inside();
        must(::send(4, "question", 8, 0) == 8);
      },
      [] {
        char byte = 0;
        if (::recv(4, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET) board().value[0] = 1;
      });
  ASSERT_TRUE(moves(subject.pid()));
  ASSERT_EQ(peek(subject.pid(), 1), 0U);
  ASSERT_TRUE(carry(subject));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) == 1; }));
}

TEST_F(NetworkNamespaces, AnEndOfWhatLeadsElsewhereIsNamed) {
  Subject subject([] {
    own_network(true);
    const pid_t elsewhere = ::fork();
    if (elsewhere == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      must(::unshare(CLONE_NEWNET) == 0);
      for (;;) ::pause();
    }
    must(eventually([&] {
      return os::namespace_id(elsewhere, "net") && os::namespace_id(0, "net") &&
             *os::namespace_id(elsewhere, "net") != *os::namespace_id(0, "net");
    }));
    must(static_cast<bool>(os::run_checked({"ip", "link", "add", "here", "type", "veth", "peer", "name",
                                            "there", "netns", std::to_string(elsewhere)})));
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("link here: its other end is in another network namespace"));
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(NetworkNamespaces, WhoElseIsInItIsNamed) {
  Subject first([] { own_network(true); });
  const auto other = first.pid();
  Subject second([other] {
    auto its = os::open_file(fmt::format("/proc/{}/ns/net", other), O_RDONLY);
    must(its && ::setns(its->get(), CLONE_NEWNET) == 0);
    ::close(its->release());
  });
  auto saved = save_trees({first.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("which is not part of the tree, is in it too"));
  ASSERT_TRUE(carry(std::vector<const Subject*>{&first, &second}));
  EXPECT_EQ(os::namespace_id(first.pid(), "net").value_or(0),
            os::namespace_id(second.pid(), "net").value_or(1));
}

TEST_F(NetworkNamespaces, OneWithANameIsRefused) {
  const auto name = folder_.path() + "/name";
  ASSERT_TRUE(os::replace_file(name, ""));
  Subject subject([&] {
    own_network(false);
    must(::mount("/proc/self/ns/net", name.c_str(), nullptr, MS_BIND, nullptr) == 0);
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  EXPECT_EQ(::umount2(name.c_str(), MNT_DETACH), 0);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("others find it by its name, " + name));
}

}  // namespace
}  // namespace upkeep::engine
