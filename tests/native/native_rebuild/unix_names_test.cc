// Unix sockets that are connected to names: of the tree's own, and of others.

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "fixture.h"
#include "unix.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

class UnixNames : public TreeTest {
 protected:
  std::string path(const char* name) const { return folder_.path() + name; }
  std::string abstract(const char* name) const { return "@" + folder_.path() + name; }
  static mode_t mode_of(const std::string& path) {
    struct stat status = {};
    return ::lstat(path.c_str(), &status) == 0 ? status.st_mode : 0;
  }
};

TEST_F(UnixNames, WhatAListenerHasAccepted) {
  const auto stream = path("/stream"), packets = abstract("/packets");
  // 3 listens, 4 is connected to it, 5 is what was accepted; 6 to 8: the same, abstract, the client named too
  Subject subject(
      [&] {
        must(bound(SOCK_STREAM, stream) == 3 && ::listen(3, 7) == 0 && ::chmod(stream.c_str(), 0640) == 0);
        must(connected(SOCK_STREAM, stream) == 4 && ::accept4(3, nullptr, nullptr, SOCK_NONBLOCK) == 5);
        put(4, "to the server"), put(5, "to the client");
        ::shutdown(5, SHUT_WR);
        must(bound(SOCK_SEQPACKET, packets) == 6 && ::listen(6, 3) == 0);
        must(bound(SOCK_SEQPACKET, packets + "-client") == 7 && connect_to(7, packets));
        must(::accept(6, nullptr, nullptr) == 8);
        put(7, "one"), put(7, "two");
      },
      [&] {
        HOLDS(own_name(4).empty() && peer_name(4) == stream);
        HOLDS(own_name(5) == stream && peer_name(5).empty());
        HOLDS((::fcntl(5, F_GETFL) & O_NONBLOCK) != 0 && (::fcntl(4, F_GETFL) & O_NONBLOCK) == 0);
        HOLDS(waiting(5) == "to the server" && waiting(4) == "to the client");
        HOLDS(::send(5, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
        HOLDS(own_name(7) == packets + "-client" && peer_name(7) == packets);
        HOLDS(own_name(8) == packets && peer_name(8) == packets + "-client");
        HOLDS(waiting(8) == "one" && passes(8, 7));
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject)) << "a second time";
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_EQ(mode_of(stream), S_IFSOCK | 0640U);
  for (const auto& [type, name] : {std::pair{SOCK_STREAM, stream}, {SOCK_SEQPACKET, packets}}) {
    const os::UniqueFd client(connected(type, name));
    EXPECT_TRUE(client.valid()) << "nobody listens any more to " << name;
  }
  for (const char* folder : {"/run", "/tmp"}) {
    const auto names = os::list_directory(folder);
    ASSERT_OK(names);
    EXPECT_THAT(*names, ::testing::Not(::testing::Contains(HasSubstr("upkeep-scratch")))) << folder;
  }
}

// Made together, and none of them mistaken for another one. One client has the name that its listener got
// afterwards.
TEST_F(UnixNames, ManyOfOneListener) {
  constexpr int kClients = 40, kFirst = 10;  // clients from 10 on, what was accepted from 110 on
  const auto name = path("/many"), other = abstract("/many");
  auto text = [](const char* to, int i) { return fmt::format("{} {}", to, i); };
  Subject subject(
      [&] {
        auto move = [](int from, int to) { must(::dup2(from, to) == to && ::close(from) == 0); };
        move(bound(SOCK_STREAM, name), kFirst);
        ::unlink(name.c_str());
        const int listener = bound(SOCK_STREAM, name), packets = bound(SOCK_SEQPACKET, other);
        must(::listen(listener, kClients) == 0 && ::listen(packets, kClients) == 0);
        auto is_packets = [](int i) { return i % 5 == 3; };
        for (int i = 0; i < kClients; ++i) {
          if (i == 0)
            must(connect_to(kFirst, name));
          else
            move(is_packets(i) ? connected(SOCK_SEQPACKET, other) : connected(SOCK_STREAM, name), kFirst + i);
          put(kFirst + i, text("to the server", i));
        }
        for (int i = 0; i < kClients; ++i) {
          move(::accept(is_packets(i) ? packets : listener, nullptr, nullptr), 100 + kFirst + i);
          put(100 + kFirst + i, text("to the client", i));
        }
      },
      [&] {
        for (int i = 0; i < kClients; ++i) {
          const int client = kFirst + i, accepted = 100 + kFirst + i;
          HOLDS(waiting(client) == text("to the client", i) && waiting(accepted) == text("to the server", i));
          HOLDS(own_name(client) == (i == 0 ? name : "") && peer_name(accepted) == own_name(client));
          HOLDS(own_name(accepted) == (i % 5 == 3 ? other : name) && peer_name(client) == own_name(accepted));
        }
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// More than a socket takes that nobody has given a larger buffer.
TEST_F(UnixNames, ALotThatIsUnread) {
  constexpr std::size_t kBytes = 3U << 20U;
  const auto name = path("/much");
  Subject subject(
      [&] {
        must(bound(SOCK_STREAM, name) == 3 && ::listen(3, 1) == 0);
        must(connected(SOCK_STREAM, name) == 4 && ::accept(3, nullptr, nullptr) == 5);
        const int size = 4 << 20, usual = 100'000;
        ::setsockopt(4, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
        put(4, std::string(kBytes, 'm'));
        ::setsockopt(4, SOL_SOCKET, SO_SNDBUF, &usual, sizeof usual);
      },
      [] {
        int bytes = 0, size = 0;
        socklen_t length = sizeof size;
        HOLDS(::ioctl(5, FIONREAD, &bytes) == 0 && bytes == kBytes);
        HOLDS(::getsockopt(4, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size == 200'000);
        HOLDS(::getsockopt(5, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size > 200'000 &&
              size < 1'000'000);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(UnixNames, BetweenProcesses) {
  const auto name = path("/between");
  // The parent's 3 listens, 4 is accepted; the child's 3 is connected: it sends back what it gets
  Subject subject(
      [&] {
        must(bound(SOCK_STREAM, name) == 3 && ::listen(3, 1) == 0);
        const pid_t parent = ::getpid();
        if (::fork() == 0) {
          ::close(3);
          must(connected(SOCK_STREAM, name) == 3);
          for (char byte = 0; ::recv(3, &byte, 1, 0) == 1 && ::getppid() == parent;)
            (void)!::send(3, &byte, 1, 0);
          ::_exit(0);
        }
        must(::accept(3, nullptr, nullptr) == 4);
      },
      [&] {
        char byte = 'b';
        HOLDS(::send(4, &byte, 1, MSG_NOSIGNAL) == 1 && ::recv(4, &byte, 1, 0) == 1 && byte == 'b');
        HOLDS(own_name(4) == name);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// The name outlives its listener; somebody else has taken it since.
TEST_F(UnixNames, NobodysFileIsTouched) {
  const auto gone = path("/gone"), taken_over = path("/taken");
  Subject subject(
      [&] {
        must(bound(SOCK_STREAM, gone) == 3 && ::listen(3, 1) == 0);
        must(connected(SOCK_STREAM, gone) == 4 && ::accept(3, nullptr, nullptr) == 5);
        must(bound(SOCK_STREAM, taken_over) == 6 && ::listen(6, 1) == 0);
        must(connected(SOCK_STREAM, taken_over) == 7 && ::accept(6, nullptr, nullptr) == 8);
        ::close(3), ::close(6);
        ::unlink(gone.c_str()), ::unlink(taken_over.c_str());
      },
      [&] {
        HOLDS(peer_name(4) == gone && own_name(5) == gone && passes(4, 5) && passes(5, 4));
        HOLDS(peer_name(7) == taken_over && own_name(8) == taken_over && passes(7, 8));
      });
  const os::UniqueFd somebody(bound(SOCK_STREAM, taken_over));
  ASSERT_TRUE(somebody.valid());
  ASSERT_EQ(::listen(somebody.get(), 1), 0);
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_EQ(mode_of(gone), 0U);
  const os::UniqueFd client(connected(SOCK_STREAM, taken_over)),
      accepted(::accept(somebody.get(), nullptr, nullptr));
  EXPECT_TRUE(passes(client.get(), accepted.get()));
}

TEST_F(UnixNames, DatagramsInsideOfTheTree) {
  const auto receiver = path("/receiver"), one = abstract("/one"), two = path("/two"), late = path("/late"),
             unread = path("/unread");
  // 3 is connected to 4, which has unread messages; 5 and 6 to each other, by name; 7 and 8 are a pair of
  // which 8 got a name later, as are 9 and 10, which has an unread message
  Subject subject(
      [&] {
        must(make(SOCK_DGRAM) == 3 && bound(SOCK_DGRAM, receiver) == 4 && connect_to(3, receiver));
        put(3, "first"), put(3, "second");
        must(bound(SOCK_DGRAM, one) == 5 && bound(SOCK_DGRAM, two) == 6);
        must(connect_to(5, two) && connect_to(6, one));
        int pair[2];
        must(::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0 && pair[1] == 8);
        Address address(late);
        must(::bind(8, address.get(), address.size) == 0);
        must(::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0 && pair[1] == 10);
        Address other(unread);
        must(::bind(10, other.get(), other.size) == 0);
        put(9, "third");
      },
      [&] {
        HOLDS(peer_name(3) == receiver && own_name(4) == receiver && waiting(4) == "first");
        HOLDS(peer_name(5) == two && peer_name(6) == one && passes(5, 6) && passes(6, 5));
        HOLDS(peer_name(7) == late && peer_name(8).empty() && passes(7, 8) && passes(8, 7));
        HOLDS(peer_name(9) == unread && waiting(10) == "third");
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject)) << "a second time";
  EXPECT_NO_COMPLAINT(subject);
  const os::UniqueFd sender(connected(SOCK_DGRAM, receiver));
  EXPECT_EQ(::send(sender.get(), "third", 5, 0), 5);
}

// Sends its number to both receivers when it is asked to; the errors are seen in values 1 and 2.
TEST_F(UnixNames, DatagramsToOthers) {
  const auto file = path("/file"), name = abstract("/name");
  os::UniqueFd at_file(bound(SOCK_DGRAM, file)), at_name(bound(SOCK_DGRAM, name));
  ASSERT_TRUE(at_file.valid() && at_name.valid());
  Subject subject([&] { must(connected(SOCK_DGRAM, file) == 3 && connected(SOCK_DGRAM, name) == 4); },
                  [] {
                    auto& value = board().value;
                    if (value[0] == 0) return;
                    const auto text = std::to_string(value[0].load());
                    for (int i = 0; i < 2; ++i) {
                      const bool sent = ::send(3 + i, text.data(), text.size(), MSG_NOSIGNAL) > 0;
                      value[1 + i] = sent ? 0U : static_cast<std::uint64_t>(errno);
                    }
                    value[0] = 0;
                  });
  auto send = [&](std::uint64_t number) {
    return poke(subject.pid(), 1, number) && eventually([&] { return peek(subject.pid(), 1) == 0; });
  };
  ASSERT_TRUE(send(1));
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved) << "what has not been read is lost";
  EXPECT_THAT(saved.error().message(), HasSubstr("what was written to " + file + " has not been read there"));
  EXPECT_THAT(saved.error().message(), HasSubstr("what was written to " + name + " has not been read there"));
  EXPECT_EQ(taken(at_file.get()) + taken(at_name.get()), "11");
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(send(2));
  EXPECT_EQ(taken(at_file.get()) + taken(at_name.get()), "22");
  // One is gone when the program comes back, the other one was started anew.
  ASSERT_TRUE(os::remove_tree(images()));
  ASSERT_OK(save_trees({subject.pid()}, images(), false));
  at_name.reset();
  at_file.reset();
  ::unlink(file.c_str());
  at_file.reset(bound(SOCK_DGRAM, file));
  ASSERT_OK(restore_trees(images(), false));
  ASSERT_TRUE(send(3));
  EXPECT_EQ(taken(at_file.get()), "3");
  EXPECT_EQ(peek(subject.pid(), 2), 0U);
  EXPECT_EQ(peek(subject.pid(), 3), static_cast<std::uint64_t>(ENOTCONN));
}

TEST_F(UnixNames, StreamsToOthersAreRefusedByName) {
  const auto name = path("/server");
  const os::UniqueFd server(bound(SOCK_STREAM, name));
  ASSERT_EQ(::listen(server.get(), 1), 0);
  Subject subject([&] { must(connected(SOCK_STREAM, name) == 3); });
  const os::UniqueFd accepted(::accept(server.get(), nullptr, nullptr));
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("descriptor 3 (socket:["));
  EXPECT_THAT(saved.error().message(), HasSubstr("connected to " + name + ", which is not part of the tree"));
  EXPECT_THAT(saved.error().message(), HasSubstr("end that connection"));
  EXPECT_TRUE(moves(subject.pid()));
}

}  // namespace
}  // namespace upkeep::engine
