// What is on its way through Unix sockets, and what they remember about who is at the other end.

#include <grp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <vector>

#include "fixture.h"
#include "unix.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

int pair(int type, int at) {
  int ends[2];
  must(::socketpair(AF_UNIX, type, 0, ends) == 0 && ends[0] == at && ends[1] == at + 1);
  return at;
}

void put_descriptor(int socket, std::string_view text, int descriptor) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptor)] = {};
  iovec area = {const_cast<char*>(text.data()), text.size()};
  msghdr message = {};
  message.msg_iov = &area, message.msg_iovlen = 1;
  message.msg_control = control, message.msg_controllen = sizeof control;
  auto* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET, part->cmsg_type = SCM_RIGHTS, part->cmsg_len = CMSG_LEN(sizeof descriptor);
  std::memcpy(CMSG_DATA(part), &descriptor, sizeof descriptor);
  must(::sendmsg(socket, &message, 0) == static_cast<ssize_t>(text.size()));
}

struct Got {
  std::string text;
  std::vector<int> descriptors;
  ucred sender = {0, 0, 0};
};
Got take(int socket, std::size_t most = 64) {
  Got got;
  alignas(cmsghdr) char control[512] = {};
  char text[128] = {};
  iovec area = {text, most};
  msghdr message = {};
  message.msg_iov = &area, message.msg_iovlen = 1;
  message.msg_control = control, message.msg_controllen = sizeof control;
  const ssize_t size = ::recvmsg(socket, &message, MSG_DONTWAIT);
  got.text = size < 0 ? std::strerror(errno) : std::string(text, static_cast<std::size_t>(size));
  for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    int fd = -1;
    if (part->cmsg_type == SCM_RIGHTS) {
      for (std::size_t i = 0; i < (part->cmsg_len - CMSG_LEN(0)) / sizeof fd; ++i) {
        std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
        got.descriptors.push_back(fd);
      }
    } else if (part->cmsg_type == SCM_CREDENTIALS) {
      std::memcpy(&got.sender, CMSG_DATA(part), sizeof got.sender);
    }
  }
  return got;
}

ucred peer_of(int socket) {
  ucred peer = {};
  socklen_t size = sizeof peer;
  ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size);
  return peer;
}

bool is_asked() { return board().value[0] != 0; }
void has_looked() { board().value[0] = 0; }

class UnixMessages : public TreeTest {
 protected:
  std::string path(const char* name) const { return folder_.path() + name; }
  static bool ask(const Subject& subject) {
    return poke(subject.pid(), 1, 1) && eventually([&] { return peek(subject.pid(), 1) == 0; });
  }
};

TEST_F(UnixMessages, DescriptorsOnTheirWay) {
  const auto file = path("/file");
  // 3 and 4 a stream: plain bytes, then a file that nobody has open any more, then plain ones; 5 and 6
  // packets: a pipe whose writing end stays as 7
  Subject subject(
      [&] {
        pair(SOCK_STREAM, 3), pair(SOCK_SEQPACKET, 5);
        const int one = ::open(file.c_str(), O_RDWR | O_CREAT, 0600);
        must(one == 7 && ::write(one, "0123456789", 10) == 10 && ::lseek(one, 4, SEEK_SET) == 4);
        put(3, "before "), put_descriptor(3, "with", one), put(3, " after");
        ::close(one);
        int ends[2];
        must(::pipe(ends) == 0 && ends[0] == 7 && ends[1] == 8);
        put_descriptor(5, "pipe", 7), put_descriptor(5, "again", 7);
        must(::dup2(8, 7) == 7 && ::close(8) == 0);
      },
      [] {
        if (!is_asked()) return;
        HOLDS(take(4, 6).text == "before");
        // Not before the byte that it was sent with.
        const auto space = take(4, 1);
        HOLDS(space.text == " " && space.descriptors.empty());
        const auto with = take(4, 64);
        HOLDS(with.text.starts_with("with") && with.descriptors.size() == 1);
        char text[16] = {};
        HOLDS(::read(with.descriptors.at(0), text, sizeof text) == 6 && std::string_view(text) == "456789");
        HOLDS(with.text.ends_with(" after") || take(4).text == " after");
        const auto first = take(6), second = take(6);
        HOLDS(first.text == "pipe" && second.text == "again" && second.descriptors.size() == 1);
        HOLDS(::write(7, "x", 1) == 1 && ::read(second.descriptors.at(0), text, sizeof text) == 1);
        has_looked();
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject)) << "a second time";
  ASSERT_TRUE(ask(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// A socket that is on its way through itself is held by nothing else.
TEST_F(UnixMessages, ASocketInItself) {
  Subject subject(
      [] {
        pair(SOCK_STREAM, 3);
        put_descriptor(3, "itself", 4), put_descriptor(4, "other", 4);
        ::close(4);
      },
      [] {
        if (!is_asked()) return;
        const auto got = take(3);
        HOLDS(got.text == "other" && got.descriptors.size() == 1 && got.descriptors[0] == 4);
        const auto inner = take(4);
        HOLDS(inner.text == "itself" && inner.descriptors.size() == 1 && passes(3, 4));
        has_looked();
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(ask(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(UnixMessages, DatagramsHaveTheirSenders) {
  const auto receiver = path("/receiver"), sender = path("/sender"), gone = path("/gone");
  Subject subject(
      [&] {
        must(bound(SOCK_DGRAM, receiver) == 3 && bound(SOCK_DGRAM, sender) == 4 && make(SOCK_DGRAM) == 5);
        Address to(receiver);
        for (int fd : {4, 5}) must(::sendto(fd, "x", 1, 0, to.get(), to.size) == 1);
        must(::sendto(5, "", 0, 0, to.get(), to.size) == 0);
        const int other = bound(SOCK_DGRAM, gone);
        must(::sendto(other, "x", 1, 0, to.get(), to.size) == 1);
        ::close(other);
      },
      [&] {
        if (!is_asked()) return;
        for (const auto& wanted : {sender, std::string(), std::string(), gone}) {
          Address from("x");
          from.size = sizeof from.un;
          char byte;
          HOLDS(::recvfrom(3, &byte, 1, MSG_DONTWAIT, from.get(), &from.size) >= 0);
          HOLDS(from.size > sizeof(sa_family_t) ? from.un.sun_path == wanted : wanted.empty());
        }
        has_looked();
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(ask(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// Of a pair the one who made it; of a connection who listens, and who connects: here a child of another user,
// which has ended, and has left behind what it said with its credentials.
TEST_F(UnixMessages, WhoIsAtTheOtherEnd) {
  constexpr uid_t kUser = 12345;
  const auto name = path("/server");
  Subject subject(
      [&] {
        must(bound(SOCK_STREAM, name) == 3 && ::chmod(name.c_str(), 0777) == 0 && ::listen(3, 3) == 0);
        must(::chmod(name.substr(0, name.rfind('/')).c_str(), 0755) == 0);
        const int on = 1;
        must(::setsockopt(3, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
        const pid_t child = ::fork();
        if (child == 0) {
          const gid_t groups[] = {7, 9};
          must(::setgroups(2, groups) == 0 && ::setresgid(8, 8, 8) == 0 &&
               ::setresuid(kUser, kUser, kUser) == 0);
          must(connected(SOCK_STREAM, name) == 4);
          put(4, "hello");
          ::_exit(0);
        }
        must(::waitpid(child, nullptr, 0) == child && ::accept(3, nullptr, nullptr) == 4);
        must(connected(SOCK_STREAM, name) == 5 && ::accept(3, nullptr, nullptr) == 6);
        board().value[1] = static_cast<std::uint64_t>(child);
      },
      [&] {
        const auto child = static_cast<pid_t>(board().value[1]);
        const auto its = peer_of(4);
        HOLDS(its.pid == child && its.uid == kUser && its.gid == 8);
        gid_t groups[8];
        socklen_t size = sizeof groups;
        HOLDS(::getsockopt(4, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0 && size == 2 * sizeof(gid_t));
        HOLDS(groups[0] == 7 && groups[1] == 9);
        HOLDS(peer_of(5).pid == ::getpid() && peer_of(6).pid == ::getpid() && peer_of(6).uid == 0);
        HOLDS(peer_of(3).pid == ::getpid());
        if (!is_asked()) return;
        const auto said = take(4);
        HOLDS(said.text == "hello" && said.sender.pid == child && said.sender.uid == kUser &&
              said.sender.gid == 8);
        HOLDS(take(4).text.empty());
        has_looked();
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject)) << "a second time";
  ASSERT_TRUE(ask(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// 3: as root, whoever it is now; 4: a child of it that has ended; 5: as who it is now
TEST_F(UnixMessages, WhoHasListened) {
  constexpr uid_t kUser = 12345;
  const std::string names[] = {path("/root"), path("/child"), path("/user")};
  Subject subject(
      [&] {
        must(::setgroups(0, nullptr) == 0);
        for (int i = 0; i < 3; ++i) must(bound(SOCK_STREAM, names[i]) == 3 + i);
        must(::listen(3, 3) == 0);
        const pid_t child = ::fork();
        if (child == 0) ::_exit(::listen(4, 4) == 0 ? 0 : 1);
        must(::waitpid(child, nullptr, 0) == child);
        board().value[1] = static_cast<std::uint64_t>(child);
        const gid_t groups[] = {7, 9};
        must(::setgroups(2, groups) == 0 && ::setresgid(8, 8, 8) == 0 &&
             ::setresuid(kUser, kUser, kUser) == 0);
        must(::listen(5, 5) == 0);
      },
      [] {
        HOLDS(peer_of(3).pid == ::getpid() && peer_of(3).uid == 0);
        HOLDS(peer_of(4).pid == static_cast<pid_t>(board().value[1]) && peer_of(4).uid == 0);
        HOLDS(peer_of(5).pid == ::getpid() && peer_of(5).uid == kUser && peer_of(5).gid == 8);
        gid_t groups[8];
        socklen_t size = sizeof groups;
        HOLDS(::getsockopt(5, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0 && size == 2 * sizeof(gid_t));
        HOLDS(groups[0] == 7 && groups[1] == 9);
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject)) << "a second time";
  EXPECT_NO_COMPLAINT(subject);
  for (const auto& name : names) {
    const os::UniqueFd client(connected(SOCK_STREAM, name));
    EXPECT_TRUE(client.valid()) << name;
  }
}

TEST_F(UnixMessages, WhosePeerHasGone) {
  const auto name = path("/server");
  // 3: with unread data; 4: its data was never read by the other side; 5: accepted from a name; 6: datagrams
  Subject subject(
      [&] {
        int ends[2];
        must(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && ends[0] == 3);
        put(ends[1], "last words"), ::close(ends[1]);
        must(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && ends[0] == 4);
        put(ends[0], "unheard"), ::close(ends[1]);
        const int listener = bound(SOCK_SEQPACKET, name);
        must(::listen(listener, 1) == 0);
        const int client = connected(SOCK_SEQPACKET, name);
        must(::accept(listener, nullptr, nullptr) == 7 && ::dup2(7, 5) == 5);
        ::close(6), ::close(7), (void)client;
        must(::socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0 && ends[0] == 6);
        ::close(ends[1]);
      },
      [&] {
        if (!is_asked()) return;
        HOLDS(take(3).text == "last words" && take(3).text.empty());
        HOLDS(::send(3, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
        HOLDS(take(4).text == std::strerror(ECONNRESET) && take(4).text.empty());
        HOLDS(own_name(5) == name && take(5).text.empty());
        HOLDS(::send(6, "x", 1, MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED);
        has_looked();
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject)) << "a second time";
  ASSERT_TRUE(ask(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(UnixMessages, WhoWaitsToBeAccepted) {
  const auto name = path("/server");
  Subject subject(
      [&] {
        must(bound(SOCK_STREAM, name) == 3 && ::listen(3, 5) == 0);
        must(bound(SOCK_STREAM, name + "-first") == 4 && connect_to(4, name) &&
             connected(SOCK_STREAM, name) == 5);
      },
      [&] {
        if (!is_asked()) return;
        HOLDS(::accept(3, nullptr, nullptr) == 6 && ::accept(3, nullptr, nullptr) == 7);
        HOLDS(peer_name(6) == name + "-first" && peer_name(7).empty() && peer_of(6).pid == ::getpid());
        HOLDS(passes(4, 6) && passes(7, 5));
        has_looked();
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject)) << "a second time";
  {
    // Somebody else's has to be tried again, which is said.
    const os::UniqueFd other(connected(SOCK_STREAM, name));
    const auto seen = inspect_trees({subject.pid()}, true);
    ASSERT_OK(seen);
    ASSERT_EQ(seen->snapshot.losses.size(), 1U);
    EXPECT_THAT(seen->snapshot.losses[0].why, HasSubstr("1 connections of other processes wait"));
    ASSERT_TRUE(carry(subject));
  }
  ASSERT_TRUE(ask(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(UnixMessages, WhatWasSaidBeforeBeingAcceptedIsRefused) {
  const auto name = path("/server");
  Subject subject([&] {
    must(bound(SOCK_STREAM, name) == 3 && ::listen(3, 1) == 0 && connected(SOCK_STREAM, name) == 4);
    put(4, "early");
  });
  const auto saved = save_trees({subject.pid()}, images(), true);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("cannot be seen before it has been accepted there"));
}

}  // namespace
}  // namespace upkeep::engine
