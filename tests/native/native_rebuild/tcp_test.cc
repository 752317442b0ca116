// TCP connections to peers that are not carried: the test holds the other ends, in a network namespace of its
// own, which is held closed as a whole.

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>

#include "engine/image.h"
#include "engine/rebuild/rebuild.h"
#include "engine/verify/verify.h"
#include "fixture.h"
#include "net/hold.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

constexpr int kConnection = 3;  // the subject's descriptor

class Connections : public TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    if (IsSkipped()) return;
    if (!machine_carries()) {  // else it is the machine's network that is held, by upkeep
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
      ASSERT_TRUE(os::run_checked({"ip", "link", "set", "lo", "up"}));
    }
    network_.hold = [](const std::vector<pid_t>&) { return net::hold_network(); };
    network_.release = [] { return net::release_network(); };
  }

  Result<void> hold_network() const {
    (void)images();  // ends a test that a machine is to carry: its network is not the test's to close
    return net::hold_network();
  }
  static sockaddr_in6 address(const std::string& text) {
    sockaddr_in6 name = {};
    name.sin6_family = AF_INET6;
    if (text.find(':') != std::string::npos) {
      EXPECT_EQ(::inet_pton(AF_INET6, text.c_str(), &name.sin6_addr), 1);
    } else {
      auto& in = reinterpret_cast<sockaddr_in&>(name);
      in.sin_family = AF_INET;
      EXPECT_EQ(::inet_pton(AF_INET, text.c_str(), &in.sin_addr), 1);
    }
    return name;
  }
  // What a subject connects to.
  void listen(const std::string& listen_at, const std::string& at) {
    auto name = address(listen_at);
    socklen_t size = sizeof name;
    listener_ = os::UniqueFd(::socket(name.sin6_family, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name), &size);
    to_ = address(at);
    to_.sin6_port = name.sin6_port;
  }
  os::UniqueFd accept() const { return os::UniqueFd(::accept(listener_.get(), nullptr, nullptr)); }
  static std::string receive(os::Fd fd, std::size_t size) {
    const timeval limit = {20, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    std::string text(size, '\0');
    const ssize_t got = ::recv(fd.get(), text.data(), text.size(), MSG_WAITALL);
    text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return text;
  }
  static bool send(os::Fd fd, const std::string& text) {
    return ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  os::UniqueFd listener_;
  sockaddr_in6 to_ = {};
};

// In a subject, whose descriptor 3 it becomes.
void connect_to(const sockaddr_in6& name) {
  ::socket(name.sin6_family, SOCK_STREAM, 0);
  (void)::connect(kConnection, reinterpret_cast<const sockaddr*>(&name), sizeof name);
}

// What the subject does: gives everything back that it gets.
void echo() {
  char text[256];
  const ssize_t size = ::recv(kConnection, text, sizeof text, MSG_DONTWAIT);
  if (size > 0) HOLDS(::send(kConnection, text, static_cast<std::size_t>(size), MSG_NOSIGNAL) == size);
  if (size < 0) HOLDS(errno == EAGAIN);
  if (size == 0) board().value[0] = 1;
}

class EveryFamily : public Connections, public ::testing::WithParamInterface<std::array<const char*, 2>> {};

TEST_P(EveryFamily, GoesOn) {
  listen(GetParam()[0], GetParam()[1]);
  Subject subject([this] { connect_to(to_); }, echo);
  auto client = accept();
  ASSERT_TRUE(send(client, "before"));
  EXPECT_EQ(receive(client, 6), "before");
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(carry(subject));
    ASSERT_TRUE(send(client, "after"));
    EXPECT_EQ(receive(client, 5), "after");
  }
  EXPECT_NO_COMPLAINT(subject);
  client.reset();
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) == 1; })) << "the end of it is not seen";
}
INSTANTIATE_TEST_SUITE_P(Connections, EveryFamily,
                         ::testing::Values(std::array{"127.0.0.1", "127.0.0.1"}, std::array{"::1", "::1"},
                                           std::array{"::", "::ffff:127.0.0.1"}));

// Bytes that tell where they stand.
std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  return text;
}

// Sends until nothing more is taken; returns how much was.
std::size_t fill(int fd) {
  const auto text = pattern(8U << 20U);
  std::size_t sent = 0;
  for (;;) {
    const ssize_t size = ::send(fd, text.data() + sent, text.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size <= 0) return sent;
    sent += static_cast<std::size_t>(size);
  }
}

TEST_F(Connections, WhatIsInTheQueuesStaysThere) {
  listen("127.0.0.1", "127.0.0.1");
  Subject subject(
      [this] {
        connect_to(to_);
        board().value[1] = fill(kConnection);
        int unsent = 0;
        ::ioctl(kConnection, SIOCOUTQNSD, &unsent);
        board().value[2] = static_cast<std::uint64_t>(unsent);
      },
      [] {
        if (board().value[3] == 0) return;
        char text[64];
        HOLDS(::recv(kConnection, text, sizeof text, MSG_PEEK | MSG_DONTWAIT) == 20);
        HOLDS(std::memcmp(text, "nobody has read this", 20) == 0);
      });
  auto client = accept();
  const auto sent = peek(subject.pid(), 2);
  ASSERT_GT(sent, 100'000U);
  ASSERT_GT(peek(subject.pid(), 3), 0U) << "the peer took everything";
  ASSERT_TRUE(send(client, "nobody has read this"));
  ASSERT_TRUE(carry(subject));
  poke(subject.pid(), 4, 1);
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  const auto got = receive(client, sent);
  EXPECT_EQ(got.size(), sent);
  EXPECT_TRUE(got == pattern(sent)) << "other bytes than those that were sent";
}

TEST_F(Connections, ALotOfTrafficBetweenManySnapshots) {
  listen("127.0.0.1", "127.0.0.1");
  Subject subject([this] { connect_to(to_); }, echo);
  auto client = accept();
  for (int round = 0; round < 10; ++round) {
    const std::string text(200, static_cast<char>('a' + round));
    ASSERT_TRUE(send(client, text));  // somewhere on its way while the subject is taken
    ASSERT_TRUE(carry(subject));
    EXPECT_EQ(receive(client, text.size()), text);
  }
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Connections, ThePeerHasClosedItsSide) {
  listen("127.0.0.1", "127.0.0.1");
  // Words are read, then the end of them; then an answer, and an end of ours.
  Subject subject([this] { connect_to(to_); },
                  [] {
                    if (board().value[1] == 0) return;
                    char text[64];
                    HOLDS(::recv(kConnection, text, sizeof text, MSG_DONTWAIT) == 14);
                    HOLDS(::recv(kConnection, text, sizeof text, MSG_DONTWAIT) == 0);
                    HOLDS(::send(kConnection, "an answer", 9, MSG_NOSIGNAL) == 9);
                    ::close(kConnection);
                    board().value[1] = 0;
                  });
  auto client = accept();
  ASSERT_TRUE(send(client, "the last words"));
  ::shutdown(client.get(), SHUT_WR);
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  poke(subject.pid(), 2, 1);
  EXPECT_EQ(receive(client, 100), "an answer");
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Connections, OurSideIsClosed) {
  listen("::1", "::1");
  Subject subject(
      [this] {
        connect_to(to_);
        ::shutdown(kConnection, SHUT_WR);
      },
      [] {
        HOLDS(::send(kConnection, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
        char text[64];
        const ssize_t size = ::recv(kConnection, text, sizeof text, MSG_DONTWAIT);
        if (size > 0) board().value[0] += static_cast<std::uint64_t>(size);
        if (size == 0) board().value[1] = 1;
      });
  auto client = accept();
  EXPECT_EQ(receive(client, 1), "") << "the end of it was not seen before";
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(send(client, "from the peer"));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) == 13; }));
  ASSERT_TRUE(carry(subject));
  client.reset();
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) == 1; })) << "the peer's end is not seen";
  ASSERT_TRUE(carry(subject)) << "a connection that has ended";
  EXPECT_NO_COMPLAINT(subject);
}

// The end stands behind data that the peer has no room for.
TEST_F(Connections, OurEndIsStillToBeSent) {
  listen("127.0.0.1", "127.0.0.1");
  Subject subject([this] {
    connect_to(to_);
    board().value[1] = fill(kConnection);
    ::shutdown(kConnection, SHUT_WR);
  });
  auto client = accept();
  const auto sent = peek(subject.pid(), 2);
  ASSERT_TRUE(carry(subject));
  EXPECT_TRUE(receive(client, sent + 1) == pattern(sent));
}

TEST_F(Connections, TheirOptions) {
  listen("127.0.0.1", "127.0.0.1");
  Subject subject(
      [this] {
        connect_to(to_);
        const int on = 1, seconds = 77, milliseconds = 12'345, buffer = 50'000;
        ::setsockopt(kConnection, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        ::setsockopt(kConnection, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        ::setsockopt(kConnection, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        ::setsockopt(kConnection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        ::setsockopt(kConnection, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
        ::setsockopt(kConnection, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
        ::setsockopt(kConnection, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
        ::fcntl(kConnection, F_SETFL, O_NONBLOCK);
      },
      [] {
        auto is = [](int level, int name, int wanted) {
          int value = -1;
          socklen_t size = sizeof value;
          return ::getsockopt(kConnection, level, name, &value, &size) == 0 && value == wanted;
        };
        HOLDS(is(SOL_SOCKET, SO_KEEPALIVE, 1));
        HOLDS(is(SOL_SOCKET, SO_REUSEADDR, 1));
        HOLDS(is(SOL_SOCKET, SO_RCVBUF, 100'000));
        HOLDS(is(IPPROTO_TCP, TCP_NODELAY, 1));
        HOLDS(is(IPPROTO_TCP, TCP_KEEPIDLE, 77));
        HOLDS(is(IPPROTO_TCP, TCP_USER_TIMEOUT, 12'345));
        char name[16] = {};
        socklen_t size = sizeof name;
        HOLDS(::getsockopt(kConnection, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0);
        HOLDS(std::strcmp(name, "reno") == 0);
        HOLDS((::fcntl(kConnection, F_GETFL) & O_NONBLOCK) != 0);
      });
  auto client = accept();
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Connections, BesideATerminalWhereSomebodyHasTyped) {
  listen("127.0.0.1", "127.0.0.1");
  Subject subject(
      [this] {
        connect_to(to_);
        const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
        char name[64] = {};
        if (::unlockpt(master) != 0 || ::ptsname_r(master, name, sizeof name) != 0) ::_exit(1);
        const int slave = ::open(name, O_RDWR | O_NOCTTY);
        board().value[0] = static_cast<std::uint64_t>(slave);
        if (::write(master, "line\n", 5) != 5) ::_exit(1);
        for (int typed = 0; typed != 5; ::poll(nullptr, 0, 1))
          ::ioctl(slave, FIONREAD, &typed);  // a worker's
      },
      [] {
        int typed = 0;
        HOLDS(::ioctl(static_cast<int>(board().value[0].load()), FIONREAD, &typed) == 0 && typed == 5);
      });
  auto client = accept();
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// A server with its listening socket and a client of its own, over loopback: both ends are carried.
TEST_F(Connections, BothEndsOfOne) {
  Subject subject(
      [] {
        auto name = sockaddr_in();
        name.sin_family = AF_INET;
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof name;
        ::socket(AF_INET, SOCK_STREAM, 0);  // 3, 4 and 5
        (void)::bind(3, reinterpret_cast<sockaddr*>(&name), size);
        ::listen(3, 5);
        ::getsockname(3, reinterpret_cast<sockaddr*>(&name), &size);
        ::socket(AF_INET, SOCK_STREAM, 0);
        (void)::connect(4, reinterpret_cast<sockaddr*>(&name), size);
        ::accept(3, nullptr, nullptr);
      },
      [] {
        char text[8] = {};
        HOLDS(::send(4, "ping", 4, MSG_NOSIGNAL) == 4);
        HOLDS(::recv(5, text, 4, MSG_WAITALL) == 4 && std::memcmp(text, "ping", 4) == 0);
        HOLDS(::send(5, "pong", 4, MSG_NOSIGNAL) == 4);
        HOLDS(::recv(4, text, 4, MSG_WAITALL) == 4 && std::memcmp(text, "pong", 4) == 0);
      });
  for (int round = 0; round < 3; ++round) ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// The first question is lost on its way; the answer comes when it has been asked again. The thread that waits
// in connect(2) goes on waiting, without an error.
TEST_F(Connections, StillBeingMade) {
  listen("127.0.0.1", "127.0.0.1");
  ASSERT_TRUE(hold_network());
  Subject subject([this] {
    ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    HOLDS(::connect(kConnection, reinterpret_cast<const sockaddr*>(&to_), sizeof to_) < 0 &&
          errno == EINPROGRESS);
    sockaddr_in own = {};
    socklen_t size = sizeof own;
    ::getsockname(kConnection, reinterpret_cast<sockaddr*>(&own), &size);
    board().value[1] = own.sin_port;
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    std::thread([this, fd] {
      HOLDS(::connect(fd, reinterpret_cast<const sockaddr*>(&to_), sizeof to_) == 0);
      board().value[2] = 1;
      ::pause();
    }).detach();
  });
  ASSERT_TRUE(eventually([&] {
    const auto seen = inspect_trees({subject.pid()}, false);
    return seen && std::ranges::count_if(seen->snapshot.files, [](const auto& file) {
                     return file.socket && file.socket->connecting;
                   }) == 2;
  }));
  ASSERT_TRUE(carry(subject));
  std::set<in_port_t> ports;
  for (int i = 0; i < 2; ++i) {
    sockaddr_in from = {};
    socklen_t size = sizeof from;
    const os::UniqueFd accepted(::accept(listener_.get(), reinterpret_cast<sockaddr*>(&from), &size));
    ASSERT_TRUE(accepted.valid());
    ports.insert(from.sin_port);
  }
  EXPECT_TRUE(ports.contains(static_cast<in_port_t>(peek(subject.pid(), 2)))) << "it has another port now";
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 3) == 1; })) << "the one that waits is not told";
  EXPECT_NO_COMPLAINT(subject);
}

// Who has connected, and has not been accepted, is told of a reset, and check says so.
TEST_F(Connections, WhoeverWaitsToBeAcceptedHasToTryAgain) {
  Subject subject([] {
    ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in any = {};
    any.sin_family = AF_INET;
    (void)::bind(kConnection, reinterpret_cast<sockaddr*>(&any), sizeof any);
    ::listen(kConnection, 5);
    socklen_t size = sizeof any;
    ::getsockname(kConnection, reinterpret_cast<sockaddr*>(&any), &size);
    board().value[0] = any.sin_port;
  });
  to_ = address("127.0.0.1");
  to_.sin6_port = static_cast<in_port_t>(peek(subject.pid(), 1));
  auto connect = [this] {
    os::UniqueFd client(::socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&to_), sizeof to_), 0);
    return client;
  };
  const auto waiting = connect();
  const auto seen = inspect_trees({subject.pid()}, true);
  ASSERT_OK(seen);
  EXPECT_TRUE(seen->snapshot.obstacles.empty());
  EXPECT_TRUE(machine_carries() || seen->snapshot.losses.size() == 1U);  // a machine has others' too
  EXPECT_TRUE(std::ranges::any_of(seen->snapshot.losses, [](const auto& loss) {
    return loss.why == "1 connections wait to be accepted";
  }));
  ASSERT_TRUE(carry(subject));
  // Because of what it sends; where it is carried itself it has been told already.
  char byte = 0;
  const bool knows = ::send(waiting.get(), "anybody?", 8, MSG_NOSIGNAL) < 0;
  EXPECT_TRUE(!knows || machine_carries());
  EXPECT_TRUE(knows || ::recv(waiting.get(), &byte, 1, 0) < 0);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_TRUE(connect().valid());
}

TEST_F(Connections, RefusedWhereNobodyHoldsTheNetwork) {
  listen("127.0.0.1", "127.0.0.1");
  Subject subject([this] { connect_to(to_); }, echo);
  auto client = accept();
  network_ = {};
  const auto saved = save_trees({subject.pid()}, images(), false, network_);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), ::testing::HasSubstr("TCP connections"));
  ASSERT_TRUE(send(client, "still there"));
  EXPECT_EQ(receive(client, 11), "still there");
}

// Making many tasks takes longer than the kernel waits for an acknowledgement: what it sends then is lost,
// for the network is closed, but says what there is room for by now.
TEST_F(Connections, TheKernelSendsAnewBeforeTheyAreCompared) {
  listen("127.0.0.1", "127.0.0.1");
  Subject subject([this] { connect_to(to_); },
                  [] {
                    if (board().value[0] == 0 || board().value[1] == 1) return;
                    HOLDS(::send(kConnection, "sent", 4, MSG_NOSIGNAL) == 4);
                    board().value[1] = 1;
                  });
  auto client = accept();
  ASSERT_TRUE(hold_network());
  network_.hold = [](const std::vector<pid_t>&) { return Result<void>(); };
  poke(subject.pid(), 1, 1);
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 2) == 1; }));
  ASSERT_OK(save_trees({subject.pid()}, images(), false, network_));
  ::waitpid(subject.pid(), nullptr, 0);
  auto saved = load_image(images());
  ASSERT_OK(saved);
  // A kernel that told the peer of less room than this one does.
  for (auto& file : saved->files) {
    if (file.socket && file.socket->connection) file.socket->connection->window.rcv_wnd -= 16384;
  }
  auto tasks = rebuild(*saved, pages_of(images()));
  ASSERT_OK(tasks);
  auto connections = std::move(tasks->connections());
  std::this_thread::sleep_for(std::chrono::milliseconds(3500));  // TCP_TIMEOUT_FALLBACK of the kernel is 3 s
  {
    const auto tree = verify(*saved, std::move(*tasks));
    ASSERT_OK(tree);
    ASSERT_TRUE(connections.go_live());
    ASSERT_TRUE(net::release_network());
  }
  EXPECT_EQ(receive(client, 4), "sent");
  EXPECT_NO_COMPLAINT(subject);
}

// A restore that fails leaves no trace of the connection: the peer hears nothing, and the next one succeeds.
TEST_F(Connections, AFailedRestoreIsSilent) {
  listen("127.0.0.1", "127.0.0.1");
  const auto path = folder_.path() + "/file";
  ASSERT_TRUE(os::replace_file(path, "x"));
  Subject subject(
      [&] {
        connect_to(to_);
        (void)::open(path.c_str(), O_RDONLY);
      },
      echo);
  auto client = accept();
  ASSERT_TRUE(save_trees({subject.pid()}, images(), false, network_));
  ::waitpid(subject.pid(), nullptr, 0);
  ASSERT_EQ(::rename(path.c_str(), (path + ".away").c_str()), 0);
  ASSERT_FALSE(restore_trees(images(), false, network_));
  ASSERT_TRUE(net::release_network());  // whatever was sent would arrive
  char byte = 0;
  EXPECT_EQ(::recv(client.get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
  ASSERT_TRUE(hold_network());
  ASSERT_EQ(::rename((path + ".away").c_str(), path.c_str()), 0);
  ASSERT_OK(restore_trees(images(), false, network_));
  ASSERT_TRUE(send(client, "still there"));
  EXPECT_EQ(receive(client, 11), "still there");
}

}  // namespace
}  // namespace upkeep::engine
