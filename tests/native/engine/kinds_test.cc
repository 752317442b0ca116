// Kinds of things that tasks hold, carried.

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <nlohmann/json.hpp>

#include "fixture.h"

namespace upkeep::testing {

void OwnNetwork::set_loopback(bool up) {
  os::UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  std::snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
  request.ifr_flags = static_cast<short>(up ? IFF_UP | IFF_RUNNING : 0);
  ASSERT_EQ(::ioctl(socket.get(), SIOCSIFFLAGS, &request), 0);
}

OwnNetwork::OwnNetwork() : before_(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) {
  EXPECT_EQ(::unshare(CLONE_NEWNET), 0);
  set_loopback(true);
}

OwnNetwork::~OwnNetwork() { EXPECT_EQ(::setns(before_.get(), CLONE_NEWNET), 0); }

}  // namespace upkeep::testing

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using Kinds = EngineTest;

constexpr std::uint16_t kPort = 7777;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// In the subject: listens, takes one connection, answers every byte with itself.
int listener = -1, connection = -1;
void listen_there() {
  listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  auto address = loopback(kPort);
  ::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address);
  ::listen(listener, 4);
}
void echo_there() {
  if (connection < 0) connection = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
  char byte = 0;
  if (connection >= 0 && ::read(connection, &byte, 1) == 1) (void)!::write(connection, &byte, 1);
}

os::UniqueFd connect_here() {
  os::UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = loopback(kPort);
  EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  timeval limit = {20, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return socket;
}

char echoed(const os::UniqueFd& socket, char byte) {
  char answer = '-';
  EXPECT_EQ(::send(socket.get(), &byte, 1, MSG_NOSIGNAL), 1);
  EXPECT_EQ(::read(socket.get(), &answer, 1), 1) << std::strerror(errno);
  return answer;
}

TEST_F(Kinds, TcpConnectionToOutside) {
  OwnNetwork network;
  Subject subject(listen_there, echo_there);
  auto client = connect_here();
  ASSERT_EQ(echoed(client, 'a'), 'a');
  hooks_.on_parked = []() -> Result<void> {
    OwnNetwork::set_loopback(false);
    return {};
  };
  between_ = [] {
    OwnNetwork::set_loopback(true);
  };  // sockets need a route; nothing is on its way that could meet nobody
  ASSERT_TRUE(carry({&subject}));
  EXPECT_EQ(echoed(client, 'c'), 'c');
}

TEST_F(Kinds, TcpConnectionGoesOnAfterUndo) {
  OwnNetwork network;
  Subject subject(listen_there, echo_there);
  auto client = connect_here();
  ASSERT_EQ(echoed(client, 'a'), 'a');
  {
    auto still = snapshot({subject.pid()});
    ASSERT_OK(still);
  }
  EXPECT_EQ(echoed(client, 'b'), 'b');
}

TEST_F(Kinds, TcpConnectionGoesOnAfterCriuIsKilled) {
  OwnNetwork network;
  Subject subject(listen_there, echo_there);
  auto client = connect_here();
  ASSERT_EQ(echoed(client, 'a'), 'a');
  auto still = snapshot({subject.pid()});
  ASSERT_OK(still);
  for (pid_t pid : criu_processes()) ::kill(pid, SIGKILL);
  EXPECT_FALSE((*still)->resume());
  EXPECT_EQ(echoed(client, 'b'), 'b');
}

TEST_F(Kinds, TcpBetweenTwoTrees) {
  OwnNetwork network;
  Subject server(listen_there, echo_there);
  Subject client(
      [] {
        connection = ::socket(AF_INET, SOCK_STREAM, 0);
        auto address = loopback(kPort);
        ::connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address);
      },
      [] {
        char byte = 'x';
        if (::write(connection, &byte, 1) == 1 && ::read(connection, &byte, 1) == 1 && byte == 'x')
          board().value[0]++;
      });
  auto answers = [&] { return peek(client.pid(), 1); };
  ASSERT_TRUE(eventually([&] { return answers() > 3; }));
  hooks_.on_parked = []() -> Result<void> {
    OwnNetwork::set_loopback(false);
    return {};
  };
  between_ = [] { OwnNetwork::set_loopback(true); };
  ASSERT_TRUE(carry({&server, &client}));
  auto before = answers();
  EXPECT_TRUE(eventually([&] { return answers() > before + 3; }));
}

TEST_F(Kinds, DatagramSocketToSomebodyWhoIsGone) {
  const std::string path = folder_.path() + "/run/log";
  ASSERT_TRUE(os::make_directories(folder_.path() + "/run"));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s", path.c_str());
  os::UniqueFd log(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(log.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  Subject subject([&] {
    connection = ::socket(AF_UNIX, SOCK_DGRAM, 0);
    ::connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address);
  });
  between_ = [&] {
    log.reset();
    ASSERT_TRUE(os::remove_tree(folder_.path() + "/run"));
  };
  ASSERT_TRUE(carry({&subject}));
  EXPECT_FALSE(os::exists(path));  // the stand-in is gone
}

TEST_F(Kinds, SystemVSharedMemory) {
  Subject subject(
      [] {
        int id = ::shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
        auto* memory = static_cast<char*>(::shmat(id, nullptr, 0));
        ::shmctl(id, IPC_RMID, nullptr);
        std::snprintf(memory, 100, "carried");
        board().value[1] = reinterpret_cast<std::uint64_t>(memory);
      },
      [] {
        board().value[0] =
            std::strcmp(reinterpret_cast<const char*>(board().value[1].load()), "carried") == 0 ? 1 : 2;
      });
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 1) == 1; }));
  ASSERT_TRUE(carry({&subject}));
  EXPECT_EQ(peek(subject.pid(), 1), 1U);
  ASSERT_TRUE(carry({&subject})) << "from an IPC namespace of its own";
}

TEST_F(Kinds, FilesTimersThreadsEvents) {
  const std::string path = folder_.path() + "/file";
  Subject subject(
      [&] {
        int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND, 0600);
        int unlinked = ::open((path + "-unlinked").c_str(), O_RDWR | O_CREAT, 0600);
        ::unlink((path + "-unlinked").c_str());
        (void)!::write(unlinked, "still here", 10);
        int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        itimerspec every = {{0, 1'000'000}, {0, 1'000'000}};
        ::timerfd_settime(timer, 0, &every, nullptr);
        int events = ::epoll_create1(0);
        epoll_event event = {};
        event.events = EPOLLIN;
        event.data.fd = timer;
        ::epoll_ctl(events, EPOLL_CTL_ADD, timer, &event);
        int pipe[2];
        (void)!::pipe2(pipe, O_NONBLOCK);
        (void)!::write(pipe[1], "in flight", 9);
        connection = (file << 24) | (unlinked << 16) | (events << 8) | pipe[0];
        std::thread([] {
          for (;;) {
            board().value[3]++;
            ::usleep(1000);
          }
        }).detach();
      },
      [] {
        (void)!::write(connection >> 24, "x", 1);
        char text[16] = {};
        if (::pread((connection >> 16) & 0xff, text, 10, 0) == 10 && std::strcmp(text, "still here") == 0)
          board().value[0]++;
        epoll_event event = {};
        if (::epoll_wait((connection >> 8) & 0xff, &event, 1, 1000) == 1) {
          std::uint64_t times = 0;
          if (::read(event.data.fd, &times, sizeof times) == sizeof times) board().value[1]++;
        }
      });
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 2) > 3; }));
  ASSERT_TRUE(carry({&subject}));
  for (std::size_t word : {1U, 2U, 4U}) {
    auto before = peek(subject.pid(), word);
    EXPECT_TRUE(eventually([&] { return peek(subject.pid(), word) > before + 3; })) << "word " << word;
  }
  EXPECT_TRUE(matches(folder_.path() + "/*link_remap*").empty());
}

// What a shell starts belongs to the shell's session.
TEST_F(Kinds, LedFromOutside) {
  pid_t pid = ::fork();
  if (pid == 0) {
    ::syscall(SYS_close_range, 0U, ~0U, 0);
    for (int i = 0; i < 3; ++i) (void)::open("/dev/null", O_RDWR);
    ::mmap(reinterpret_cast<void*>(kBoard), 4096, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    for (;; ::poll(nullptr, 0, 1)) board().counter++;
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ASSERT_TRUE(eventually([&] { return peek(pid) != ~0ULL && peek(pid) > 0; }));
  nlohmann::json manifest;
  {
    auto still = snapshot({pid});
    ASSERT_OK(still);
    manifest = (*still)->manifest();
    ::kill(pid, SIGKILL);
  }
  ::waitpid(pid, nullptr, 0);
  auto restored = restore(manifest);
  ASSERT_OK(restored);
  EXPECT_TRUE(moves(pid));
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

}  // namespace
}  // namespace upkeep::engine
