// Sockets that are changed for a look are what they were, also when the one who looks is killed meanwhile.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <random>

#include "../engine/subject.h"
#include "engine/inspect/inspect.h"
#include "os/child.h"
#include "os/procfs.h"
#include "os/survivor.h"
#include "os/tcp_repair.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

constexpr int kBefore = 3, kMeanwhile = 5;

// A socket that we share with a child, whose SO_PEEK_OFF the child changes.
class Survivor : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    int pair[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
    socket_ = os::UniqueFd(pair[0]), other_ = os::UniqueFd(pair[1]);
    set(kBefore);
  }
  void set(int value) const {
    ASSERT_EQ(::setsockopt(socket_.get(), SOL_SOCKET, SO_PEEK_OFF, &value, sizeof value), 0);
  }
  int value() const { return os::socket_option<int>(socket_, SOL_SOCKET, SO_PEEK_OFF).value_or(-2); }
  os::PromisedOption promised() const { return {socket_.get(), SOL_SOCKET, SO_PEEK_OFF, kBefore}; }

  // What BODY's process ended by: its exit status, or the negative of a signal's number.
  static int outcome_of(const std::function<int()>& body) {
    auto child = os::fork_child(body);
    auto ended = child ? os::wait_child(*child, std::chrono::seconds(20)) : tl::unexpected(child.error());
    if (!ended) return -1000;
    return ended->signal() ? -*ended->signal() : ended->code().value_or(-1001);
  }
  os::UniqueFd socket_, other_;
};

TEST_F(Survivor, KeepsThePromiseOfWhoIsKilled) {
  for (int round = 0; round < 50; ++round) {
    ASSERT_EQ(outcome_of([&] {
                os::Survivor survivor(::gettid());
                const auto promise = survivor.promise({promised()});
                set(kMeanwhile);
                ::kill(::getpid(), SIGKILL);
                return 1;
              }),
              -SIGKILL);
    ASSERT_EQ(value(), kBefore) << "round " << round;
  }
}

TEST_F(Survivor, KeepsThePromiseOfAnotherThread) {
  for (int round = 0; round < 50; ++round) {
    ASSERT_EQ(outcome_of([&] {
                os::Survivor survivor(::gettid());
                std::thread([&] {
                  const auto promise = survivor.promise({promised()});
                  std::thread([] {
                    ::usleep(500);
                    ::kill(::getpid(), SIGKILL);
                  }).detach();
                  for (;;) set(kMeanwhile);
                }).join();
                return 1;
              }),
              -SIGKILL);
    ASSERT_EQ(value(), kBefore) << "round " << round;
  }
}

TEST_F(Survivor, KeepsPromisesOfOneThatCrashesOrGivesUp) {
  for (const int how : {SIGSEGV, 0}) {
    ASSERT_EQ(outcome_of([&] {
                os::Survivor survivor(::gettid());
                const auto promise = survivor.promise({promised()});
                set(kMeanwhile);
                if (how != 0) ::kill(::getpid(), how);
                ::_exit(0);
                return 1;
              }),
              -how);
    EXPECT_EQ(value(), kBefore);
    set(kMeanwhile);
  }
}

TEST_F(Survivor, LastPromisesAreKeptFirst) {
  ASSERT_EQ(outcome_of([&] {
              os::Survivor survivor(::gettid());
              const auto first = survivor.promise({{socket_.get(), SOL_SOCKET, SO_PEEK_OFF, 77}, promised()});
              const auto second = survivor.promise({{socket_.get(), SOL_SOCKET, SO_PEEK_OFF, 99}});
              ::kill(::getpid(), SIGKILL);
              return 1;
            }),
            -SIGKILL);
  EXPECT_EQ(value(), kBefore);
}

TEST_F(Survivor, HasNothingToDoWhenPromisesHaveEnded) {
  ASSERT_EQ(outcome_of([&] {
              os::Survivor survivor(::gettid());
              { const auto promise = survivor.promise({promised()}); }
              set(kMeanwhile);
              ::kill(::getpid(), SIGKILL);
              return 1;
            }),
            -SIGKILL);
  EXPECT_EQ(value(), kMeanwhile);
  ASSERT_EQ(outcome_of([&] {
              os::Survivor survivor(::gettid());
              for (int round = 0; round < 20; ++round) {
                const auto promise = survivor.promise({promised()});
                if (round % 2 == 0) continue;
                survivor.let_go();
              }
              const auto promise = survivor.promise({promised()});
              ::kill(::getpid(), SIGKILL);
              return 1;
            }),
            -SIGKILL);
  EXPECT_EQ(value(), kBefore);
}

volatile sig_atomic_t handled = 0;

// Who promises is traced, and goes on as if it were not.
TEST_F(Survivor, SignalsAndStopsAreWhatTheyWere) {
  auto child = os::fork_child([&] {
    ::signal(SIGUSR1, [](int) { handled = handled + 1; });
    os::Survivor survivor(::gettid());
    const auto promise = survivor.promise({promised()});
    for (int round = 0; round < 100; ++round) ::kill(::getpid(), SIGUSR1);
    set(kMeanwhile);
    while (handled < 101) ::usleep(1000);
    ::_exit(0);
    return 1;
  });
  ASSERT_TRUE(child);
  ASSERT_TRUE(eventually([&] { return value() == kMeanwhile; }));
  int status = 0;
  for (int round = 0; round < 3; ++round) {
    ::kill(child->pid, SIGSTOP);
    ASSERT_EQ(::waitpid(child->pid, &status, WUNTRACED), child->pid);
    ASSERT_TRUE(WIFSTOPPED(status));
    ::kill(child->pid, SIGCONT);
    ASSERT_EQ(::waitpid(child->pid, &status, WCONTINUED), child->pid);
    ASSERT_TRUE(WIFCONTINUED(status));
  }
  ::kill(child->pid, SIGUSR1);
  const auto ended = os::wait_child(*child, std::chrono::seconds(20));
  ASSERT_OK(ended);
  EXPECT_EQ(ended->code(), 0) << ended->text();
  EXPECT_EQ(value(), kBefore) << "it ended before its promise did";
}

// No help is no reason to refuse: somebody else traces whoever looks.
TEST_F(Survivor, WhoIsTracedAlreadyGoesOn) {
  auto child = os::fork_child([&] {
    while (value() == kBefore) ::usleep(1000);
    os::Survivor survivor(::gettid());
    { const auto promise = survivor.promise({promised()}); }
    return 0;
  });
  ASSERT_TRUE(child);
  {
    auto tracee = os::Tracee::seize(child->pid, 0);
    ASSERT_OK(tracee);
    set(kMeanwhile);
    const auto stop = tracee->wait(std::chrono::seconds(20));
    ASSERT_OK(stop);
    ASSERT_EQ(stop->kind, os::Stop::Kind::ended);
    EXPECT_EQ(stop->status, 0);
    tracee->forget();
  }
}

// Talks to itself over many connections; value[0] counts what fails, value[1] holds the error.
struct Talkative {
  static constexpr std::size_t kPairs = 50;
  static inline int ends[kPairs][2];
  static inline int datagrams[2];

  static void set_up() {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in name = {};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof name;
    bool good = ::bind(listener, reinterpret_cast<sockaddr*>(&name), size) == 0 &&
                ::listen(listener, 1) == 0 &&
                ::getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size) == 0;
    for (auto& pair : ends) {
      pair[0] = ::socket(AF_INET, SOCK_STREAM, 0);
      good = good && ::connect(pair[0], reinterpret_cast<sockaddr*>(&name), size) == 0;
      pair[1] = ::accept(listener, nullptr, nullptr);
      good = good && pair[1] >= 0;
    }
    ::close(listener);
    good = good && ::socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) == 0;
    for (int i = 0; i < 5; ++i) good = good && ::send(datagrams[0], "unread", 6, 0) == 6;
    note(good);
  }
  static void step() {
    for (const auto& pair : ends) {
      char byte = 0;
      note(::send(pair[0], "a", 1, 0) == 1);
      note(::recv(pair[1], &byte, 1, 0) == 1 && byte == 'a');
    }
    char bytes[8] = {};
    note(::recv(datagrams[1], bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT) == 6);
  }
  static void note(bool good) {
    if (!good) board().value[0]++, board().value[1] = static_cast<std::uint64_t>(errno);
  }
};

// How many sockets of the task are not as it has made them.
int changed_sockets(pid_t pid) {
  int count = 0;
  const auto task = os::open_pidfd(pid);
  for (const auto& [number, link] : os::list_descriptors(pid)) {
    const os::UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, task->get(), number, 0)));
    if (!fd.valid() || !link.starts_with("socket:[")) continue;
    if (os::in_repair_mode(fd) || os::socket_option<int>(fd, SOL_SOCKET, SO_PEEK_OFF).value_or(-1) != -1)
      ++count;
  }
  return count;
}

TEST_F(Survivor, KilledAtAnyMomentOfALookAtSockets) {
  const Subject subject(Talkative::set_up, Talkative::step);
  ASSERT_EQ(peek(subject.pid(), 1), 0U) << "errno " << peek(subject.pid(), 2);
  auto look = [&](bool again) -> Result<void> {
    TRY_ASSIGN(const auto tree, StoppedTree::stop({subject.pid()}));
    do {
      TRY(inspect(tree, {}));
    } while (again);
    return {};
  };
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(outcome_of([&] { return look(false) ? 0 : 1; }), 0);
  const std::chrono::duration<double> once = std::chrono::steady_clock::now() - begin;
  std::mt19937 random(11);
  constexpr int kWanted = 10;
  int meanwhile = 0, round = 0;
  for (const auto end = begin + std::chrono::seconds(60);
       meanwhile < kWanted && std::chrono::steady_clock::now() < end; ++round) {
    auto looker = os::fork_child([&] {
      (void)look(true);
      return 0;
    });
    ASSERT_TRUE(looker);
    std::this_thread::sleep_for(std::uniform_real_distribution(0.0, 2.0)(random) * once);
    ::kill(looker->pid, SIGSTOP);
    int status = 0;
    ASSERT_EQ(::waitpid(looker->pid, &status, WUNTRACED), looker->pid);
    if (changed_sockets(subject.pid()) != 0) ++meanwhile;
    ::kill(looker->pid, SIGKILL);
    ASSERT_OK(os::wait_child(*looker, std::chrono::seconds(10)));
    ASSERT_EQ(changed_sockets(subject.pid()), 0) << "round " << round;
    ASSERT_TRUE(moves(subject.pid())) << "round " << round;
    ASSERT_EQ(peek(subject.pid(), 1), 0U) << "round " << round << ", errno " << peek(subject.pid(), 2);
  }
  std::printf("killed %d times, %d of them while a socket was changed\n", round, meanwhile);
  EXPECT_GT(meanwhile, 0);
}

}  // namespace
}  // namespace upkeep::engine
