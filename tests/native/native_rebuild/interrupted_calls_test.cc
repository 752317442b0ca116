// Threads that are stopped in the middle of a system call go on with it: they wait for what they waited for,
// for the time that was left, and never see that they were interrupted.

#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <cstring>

#include "engine/inspect/inspect.h"
#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using InterruptedCalls = TreeTest;

constexpr std::size_t kMost = 32;
constexpr std::uint64_t kMillisecond = 1'000'000;

// Static: they lie at the same addresses in the test and in its subjects.
std::atomic<std::uint64_t> entered[kMost];   // since when, CLOCK_MONOTONIC
std::atomic<std::uint64_t> returned[kMost];  // likewise
std::atomic<long> outcome[kMost];
std::atomic<std::uint64_t> woken;  // set from outside

template <typename T>
T of(pid_t pid, const T& here) {
  T value;
  const iovec local = {&value, sizeof value},
              remote = {const_cast<void*>(static_cast<const void*>(&here)), sizeof value};
  if (::process_vm_readv(pid, &local, 1, &remote, 1, 0) != sizeof value) std::memset(&value, 0, sizeof value);
  return value;
}
std::uint64_t number(pid_t pid, const std::atomic<std::uint64_t>& here) {
  return of(pid, reinterpret_cast<const std::uint64_t&>(here));
}
long result(pid_t pid, std::size_t index) { return of(pid, reinterpret_cast<const long&>(outcome[index])); }

void set_woken(pid_t pid) {
  std::uint64_t yes = 1;
  const iovec local = {&yes, sizeof yes}, remote = {static_cast<void*>(&woken), sizeof yes};
  ASSERT_EQ(::process_vm_writev(pid, &local, 1, &remote, 1, 0), 8);
}

// As the kernel says it: -errno.
long call(long number, auto... arguments) {
  const long result = ::syscall(number, arguments...);
  return result < 0 ? -errno : result;
}

struct Wait {
  const char* name;
  long (*wait)();
  long expected;
  void (*wake)();
  // Interrupted a second time, nobody can tell how long it has waited before the first time.
  bool forgets = false;
  // Only the tree that is made anew gets what is left: the timeout lies in the program's memory.
  bool only_made_anew = false;
};

// Each wait in a thread of its own; whoever is woken too early says 77777.
void begin(const Wait* waits, std::size_t count, bool wakes) {
  for (std::size_t i = 0; i < count; ++i) {
    std::thread([=] {
      entered[i] = now_ns(CLOCK_MONOTONIC);
      const long got = waits[i].wait();
      const auto now = now_ns(CLOCK_MONOTONIC);
      outcome[i] = wakes && woken == 0 ? 77777 : got;
      returned[i] = now;  // last: it says that the outcome is there
      for (;;) ::syscall(SYS_futex, &board().value[6], FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
    }).detach();
  }
}

int ends[8][2];  // descriptors, in pairs
int counter = -1, epoll = -1, listener = -1, queue = -1, semaphore = -1;
pid_t child = 0, suspended = 0, pausing = 0, waiting = 0;
int locked[3], full_counter = -1, terminal[2];
pid_t second_child = 0;
std::string lock_folder;
std::atomic<std::uint32_t> word;
std::atomic<int> handled;

const sockaddr_un* listening_address() {
  static sockaddr_un address = {AF_UNIX, {}};
  std::snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "upkeep-calls-%d", ::getpid());
  return &address;
}

// Of an abstract address, unix(7).
socklen_t listening_length() {
  const auto name = 1 + std::strlen(listening_address()->sun_path + 1);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name);
}

std::uint64_t only(int signal) { return 1ULL << static_cast<unsigned>(signal - 1); }

long read_one(int fd) {
  char byte = 0;
  return call(SYS_read, fd, &byte, 1);
}
void write_one(int fd) { (void)!::write(fd, "x", 1); }

struct flock whole_file(short type) {
  struct flock lock = {};
  lock.l_type = type, lock.l_whence = SEEK_SET;
  return lock;
}

struct Message {
  long type;
  char text[8];
};

const Wait kEvents[] = {
    {"read of a pipe", [] { return read_one(ends[0][0]); }, 1, [] { write_one(ends[0][1]); }},
    {"read of a socket", [] { return read_one(ends[1][0]); }, 1, [] { write_one(ends[1][1]); }},
    {"recvmsg",
     [] {
       char bytes[8];
       iovec vector = {bytes, sizeof bytes};
       msghdr message = {};
       message.msg_iov = &vector, message.msg_iovlen = 1;
       return call(SYS_recvmsg, ends[2][0], &message, 0);
     },
     1, [] { write_one(ends[2][1]); }},
    {"write to a full pipe", [] { return call(SYS_write, ends[3][1], "x", 1); }, 1,
     [] {
       char bytes[65536];
       (void)!::read(ends[3][0], bytes, sizeof bytes);
     }},
    {"accept", [] { return call(SYS_accept4, listener, nullptr, nullptr, 0) >= 0 ? 0L : -errno; }, 0,
     [] {
       const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
       (void)!::connect(fd, reinterpret_cast<const sockaddr*>(listening_address()), listening_length());
     }},
    {"read of an eventfd",
     [] {
       std::uint64_t value = 0;
       return call(SYS_read, counter, &value, sizeof value);
     },
     8,
     [] {
       const std::uint64_t two = 2;  // a semaphore: one for the reader, one for epoll
       (void)!::write(counter, &two, sizeof two);
     }},
    {"epoll_wait",
     [] {
       epoll_event event = {};
       return call(SYS_epoll_wait, epoll, &event, 1, -1);
     },
     1, [] {}},
    {"poll",
     [] {
       pollfd one = {ends[4][0], POLLIN, 0};
       return call(SYS_poll, &one, 1, -1);
     },
     1, [] { write_one(ends[4][1]); }},
    {"ppoll with another mask",
     [] {
       pollfd one = {ends[5][0], POLLIN, 0};
       const std::uint64_t mask = only(SIGUSR1);
       return call(SYS_ppoll, &one, 1, nullptr, &mask, sizeof mask);
     },
     1, [] { write_one(ends[5][1]); }},
    {"select",
     [] {
       fd_set set;
       FD_ZERO(&set);
       FD_SET(ends[6][0], &set);
       return call(SYS_select, ends[6][0] + 1, &set, nullptr, nullptr, nullptr);
     },
     1, [] { write_one(ends[6][1]); }},
    {"futex", [] { return call(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0); }, 0,
     [] { ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0); }},
    {"wait4", [] { return call(SYS_wait4, child, nullptr, 0, nullptr) == child ? 1L : -1L; }, 1,
     [] { ::kill(child, SIGKILL); }},
    {"sigsuspend",
     [] {
       suspended = ::gettid();
       const std::uint64_t mask = ~only(SIGRTMIN + 3);
       return call(SYS_rt_sigsuspend, &mask, sizeof mask);
     },
     -EINTR, [] { ::syscall(SYS_tgkill, ::getpid(), suspended, SIGRTMIN + 3); }},
    {"pause",
     [] {
       pausing = ::gettid();
       const std::uint64_t one = only(SIGRTMIN + 5);
       ::syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &one, nullptr, sizeof one);
       return call(SYS_pause);
     },
     -EINTR, [] { ::syscall(SYS_tgkill, ::getpid(), pausing, SIGRTMIN + 5); }},
    {"sigtimedwait",
     [] {
       waiting = ::gettid();
       const std::uint64_t set = only(SIGRTMIN + 4);
       return call(SYS_rt_sigtimedwait, &set, nullptr, nullptr, sizeof set) - (SIGRTMIN + 4);
     },
     // To this thread: those that still wait with another mask would take it and end the process.
     0, [] { ::syscall(SYS_tgkill, ::getpid(), waiting, SIGRTMIN + 4); }},
    {"msgrcv",
     [] {
       Message message = {};
       return call(SYS_msgrcv, queue, &message, sizeof message.text, 0, 0);
     },
     4,
     [] {
       const Message message = {1, "abc"};
       (void)!::msgsnd(queue, &message, 4, 0);
     }},
    {"semop",
     [] {
       sembuf down = {0, -1, 0};
       return call(SYS_semop, semaphore, &down, 1);
     },
     0,
     [] {
       sembuf up = {0, 1, 0};
       (void)!::semop(semaphore, &up, 1);
     }},
    {"flock", [] { return call(SYS_flock, locked[1], LOCK_EX); }, 0, [] { ::flock(locked[0], LOCK_UN); }},
    {"fcntl of open file descriptions",
     [] {
       struct flock lock = whole_file(F_WRLCK);
       return call(SYS_fcntl, locked[1], F_OFD_SETLKW, &lock);
     },
     0,
     [] {
       struct flock lock = whole_file(F_UNLCK);
       (void)!::fcntl(locked[0], F_OFD_SETLK, &lock);
     }},
    {"fcntl of processes",
     [] {
       struct flock lock = whole_file(F_WRLCK);
       return call(SYS_fcntl, locked[2], F_SETLKW, &lock);
     },
     0, [] { ::kill(child, SIGKILL); }},  // who holds it
    {"write to a full eventfd",
     [] {
       const std::uint64_t one = 1;
       return call(SYS_write, full_counter, &one, sizeof one);
     },
     8,
     [] {
       std::uint64_t value = 0;
       (void)!::read(full_counter, &value, sizeof value);
     }},
    {"read of a terminal", [] { return read_one(terminal[1]); }, 1,
     [] { (void)!::write(terminal[0], "x\n", 2); }},
    {"waitid", [] { return call(SYS_waitid, P_PID, second_child, nullptr, WEXITED | WNOWAIT, nullptr); }, 0,
     [] { ::kill(second_child, SIGKILL); }},
};

void open_terminal(int* ends_of_it) {
  ends_of_it[0] = ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
  ::unlockpt(ends_of_it[0]);
  ends_of_it[1] = ::ioctl(ends_of_it[0], TIOCGPTPEER, O_RDWR | O_NOCTTY);
}

// What others have, that somebody waits for: 0 and 1 are two descriptions of one file, 2 is another one.
void hold_locks() {
  const auto path = lock_folder + "/locks";
  for (int& fd : locked)
    fd = ::open((path + (&fd == &locked[2] ? "-2" : "")).c_str(), O_RDWR | O_CREAT, 0600);
  ::flock(locked[0], LOCK_EX);
  struct flock lock = whole_file(F_WRLCK);
  (void)!::fcntl(locked[0], F_OFD_SETLK, &lock);
}

void fill() {
  full_counter = ::eventfd(0, 0);
  const std::uint64_t most = ~0ULL - 1;
  (void)!::write(full_counter, &most, sizeof most);
  open_terminal(terminal);
}

void prepare_events() {
  for (int* pair : {ends[0], ends[3], ends[4], ends[5], ends[6]}) (void)!::pipe(pair);
  (void)!::socketpair(AF_UNIX, SOCK_STREAM, 0, ends[1]);
  (void)!::socketpair(AF_UNIX, SOCK_DGRAM, 0, ends[2]);
  static const char full[65536] = {};
  (void)!::write(ends[3][1], full, sizeof full);
  listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  (void)!::bind(listener, reinterpret_cast<const sockaddr*>(listening_address()), listening_length());
  ::listen(listener, 4);
  counter = ::eventfd(0, EFD_SEMAPHORE);
  epoll = ::epoll_create1(0);
  epoll_event event = {};
  event.events = EPOLLIN;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, counter, &event);
  queue = ::msgget(IPC_PRIVATE, 0600);
  semaphore = ::semget(IPC_PRIVATE, 1, 0600);
  hold_locks();
  fill();
  for (pid_t* pid : {&child, &second_child}) {
    *pid = ::fork();
    if (*pid != 0) continue;
    struct flock lock = whole_file(F_WRLCK);
    if (pid == &child) (void)!::fcntl(locked[2], F_SETLKW, &lock);
    for (;;) ::pause();
  }
  ::poll(nullptr, 0, 100);  // until the child has its lock
  struct sigaction action = {};
  action.sa_handler = [](int) { handled++; };
  for (int signal : {SIGRTMIN + 3, SIGRTMIN + 5}) ::sigaction(signal, &action, nullptr);
  const std::uint64_t blocked = only(SIGRTMIN + 3) | only(SIGRTMIN + 4) | only(SIGRTMIN + 5);
  ::syscall(SYS_rt_sigprocmask, SIG_BLOCK, &blocked, nullptr, sizeof blocked);
  begin(kEvents, std::size(kEvents), true);
}

void wake_when_told() {
  if (woken == 0 || board().value[0] != 0) return;
  board().value[0] = 1;
  for (const auto& wait : kEvents) wait.wake();
}

bool all_blocked(pid_t pid, std::size_t count) {
  return eventually([&] {
    for (std::size_t i = 0; i < count; ++i) {
      if (number(pid, entered[i]) == 0) return false;
    }
    return true;
  });
}

void expect_events(const Subject& subject) {
  for (std::size_t i = 0; i < std::size(kEvents); ++i)
    EXPECT_EQ(number(subject.pid(), returned[i]), 0U)
        << kEvents[i].name << " returned " << result(subject.pid(), i);
  set_woken(subject.pid());
  for (std::size_t i = 0; i < std::size(kEvents); ++i) {
    EXPECT_TRUE(eventually([&] { return number(subject.pid(), returned[i]) != 0; }, std::chrono::seconds(5)))
        << kEvents[i].name << " does not return";
    EXPECT_EQ(result(subject.pid(), i), kEvents[i].expected) << kEvents[i].name;
  }
  EXPECT_EQ(of(subject.pid(), reinterpret_cast<const int&>(handled)), 2);
  ::msgctl(of(subject.pid(), queue), IPC_RMID, nullptr);
  ::semctl(of(subject.pid(), semaphore), 0, IPC_RMID);
}

TEST_F(InterruptedCalls, EventsArriveAfterwards) {
  lock_folder = folder_.path();
  Subject subject(prepare_events, wake_when_told);
  ASSERT_TRUE(all_blocked(subject.pid(), std::size(kEvents)));
  const pid_t its_child = of(subject.pid(), child);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  expect_events(subject);
  ::kill(its_child, SIGKILL);
}

TEST_F(InterruptedCalls, EventsArriveAfterMereLooks) {
  lock_folder = folder_.path();
  Subject subject(prepare_events, wake_when_told);
  ASSERT_TRUE(all_blocked(subject.pid(), std::size(kEvents)));
  const pid_t its_child = of(subject.pid(), child);
  for (int round = 0; round < 20; ++round) {
    auto looked = inspect_trees({subject.pid()}, true);
    ASSERT_OK(looked);
    EXPECT_TRUE(looked->snapshot.obstacles.empty())
        << looked->snapshot.obstacles.front().what << ": " << looked->snapshot.obstacles.front().why;
    ASSERT_TRUE(moves(subject.pid()));
  }
  expect_events(subject);
  ::kill(its_child, SIGKILL);
}

// A program that writes into a terminal which nobody reads: all that it has room for is in it, in pieces that
// leave no gaps, or in large ones. value 0: read from now on; value 1: how much has come.
constexpr std::size_t kAll = 100'000;
std::size_t piece_size = 0;
std::uint8_t letter(std::size_t i) { return static_cast<std::uint8_t>('a' + i % 23); }

void write_all() {
  std::vector<std::uint8_t> bytes(piece_size);
  board().value[3] = 1;
  for (std::size_t done = 0; done < kAll;) {
    for (std::size_t i = 0; i < piece_size; ++i) bytes[i] = letter(done + i);
    const ssize_t put = ::write(terminal[1], bytes.data(), std::min(piece_size, kAll - done));
    HOLDS(put > 0);
    done += static_cast<std::size_t>(put);
    board().value[2] = done;
  }
}

void read_when_told() {
  if (board().value[0] == 0) return;
  std::uint8_t bytes[4096];
  for (ssize_t got = 0; (got = ::read(terminal[0], bytes, sizeof bytes)) > 0;) {
    for (ssize_t i = 0; i < got; ++i) HOLDS(bytes[i] == letter(board().value[1]++));
  }
}

// Until it writes nothing any more.
void await_full(pid_t pid) {
  ASSERT_TRUE(eventually([&] {
    const auto written = peek(pid, 3);
    std::this_thread::sleep_for(std::chrono::milliseconds(200 * crowd()));
    return peek(pid, 4) == 1 && peek(pid, 3) == written;
  }));
}

class FullTerminals : public TreeTest, public ::testing::WithParamInterface<std::size_t> {
 protected:
  void carry_and_read(const std::function<void(const Subject&)>& carry_it) {
    Subject subject(
        [] {
          piece_size = GetParam();
          open_terminal(terminal);
          std::thread(write_all).detach();
        },
        read_when_told);
    await_full(subject.pid());
    carry_it(subject);
    if (HasFatalFailure() || IsSkipped()) return;
    EXPECT_LT(peek(subject.pid(), 3), kAll);
    ASSERT_TRUE(poke(subject.pid(), 1, 1));
    EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) == kAll; })) << peek(subject.pid(), 2);
    EXPECT_NO_COMPLAINT(subject);
  }
};

TEST_P(FullTerminals, TheirWritersGoOn) {
  carry_and_read([&](const Subject& subject) {
    for (int round = 0; round < (machine_carries() ? 1 : 2); ++round) ASSERT_TRUE(carry(subject));
  });
}

TEST_P(FullTerminals, NothingIsLostByMereLooks) {
  SKIP_WHERE_THE_MACHINE_CARRIES("it only looks");
  carry_and_read([&](const Subject& subject) {
    for (int round = 0; round < 5; ++round) {
      // A look right after another one may find its pause in restart_syscall(2), and says to try again.
      ASSERT_TRUE(moves(subject.pid()));
      const auto looked = inspect_trees({subject.pid()}, true);
      ASSERT_OK(looked);
      EXPECT_TRUE(looked->snapshot.obstacles.empty())
          << looked->snapshot.obstacles.front().what << ": " << looked->snapshot.obstacles.front().why;
    }
  });
}

INSTANTIATE_TEST_SUITE_P(FullTerminals, FullTerminals, ::testing::Values(1, 300, 60'000));

// Likewise a socket: `terminal` is a pair of them. How much there is room for may be more afterwards.
TEST_F(InterruptedCalls, WritersToFullSocketsGoOn) {
  Subject subject(
      [] {
        piece_size = 1000;
        (void)!::socketpair(AF_UNIX, SOCK_STREAM, 0, terminal);
        ::fcntl(terminal[0], F_SETFL, O_NONBLOCK);
        const int small = 4608;
        ::setsockopt(terminal[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        std::thread(write_all).detach();
      },
      read_when_told);
  await_full(subject.pid());
  for (int round = 0; round < (machine_carries() ? 1 : 2); ++round) ASSERT_TRUE(carry(subject));
  EXPECT_LT(peek(subject.pid(), 3), kAll);
  ASSERT_TRUE(poke(subject.pid(), 1, 1));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) == kAll; })) << peek(subject.pid(), 2);
  EXPECT_NO_COMPLAINT(subject);
}

// All of them wait for this long: in a machine that is carried, until after it is another one.
const int seconds = machine_carries() ? 300 : 3;
const std::uint64_t kTime = static_cast<std::uint64_t>(seconds) * 1000 * kMillisecond;
const timespec kInterval = {seconds, 0};
timespec in_a_while() {
  timespec end = {};
  ::clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_sec += kInterval.tv_sec;
  return end;
}

const Wait kTimeouts[] = {
    {"nanosleep",
     [] {
       timespec time = kInterval;
       return call(SYS_nanosleep, &time, &time);
     },
     0,
     {}},
    {"nanosleep that is not told what is left",
     [] { return call(SYS_nanosleep, &kInterval, nullptr); },
     0,
     {},
     true},
    {"clock_nanosleep",
     [] { return call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &kInterval, nullptr); },
     0,
     {},
     true},
    {"clock_nanosleep until",
     [] {
       const auto end = in_a_while();
       return call(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr);
     },
     0,
     {}},
    {"poll", [] { return call(SYS_poll, nullptr, 0, seconds * 1000); }, 0, {}},
    {"ppoll",
     [] {
       timespec time = kInterval;
       return call(SYS_ppoll, nullptr, 0, &time, nullptr, 8);
     },
     0,
     {}},
    {"select",
     [] {
       timeval time = {seconds, 0};
       return call(SYS_select, 0, nullptr, nullptr, nullptr, &time);
     },
     0,
     {}},
    {"epoll_wait",
     [] {
       epoll_event event = {};
       return call(SYS_epoll_wait, epoll, &event, 1, seconds * 1000);
     },
     0,
     {}},
    {"epoll_pwait",
     [] {
       epoll_event event = {};
       const std::uint64_t mask = only(SIGUSR1);
       return call(SYS_epoll_pwait, epoll, &event, 1, seconds * 1000, &mask, sizeof mask);
     },
     0,
     {}},
    {"futex",
     [] { return call(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &kInterval, nullptr, 0); },
     -ETIMEDOUT,
     {},
     true},
    {"futex until",
     [] {
       const auto end = in_a_while();
       return call(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &end, nullptr, ~0U);
     },
     -ETIMEDOUT,
     {}},
    {"sigtimedwait",
     [] {
       const std::uint64_t set = only(SIGRTMIN + 4);
       return call(SYS_rt_sigtimedwait, &set, nullptr, &kInterval, sizeof set);
     },
     -EAGAIN,
     {},
     false,
     true},
    {"semtimedop",
     [] {
       sembuf down = {0, -1, 0};
       return call(SYS_semtimedop, semaphore, &down, 1, &kInterval);
     },
     -EAGAIN,
     {},
     false,
     true},
    {"read of a timerfd",
     [] {
       const itimerspec time = {{0, 0}, kInterval};
       ::timerfd_settime(counter, 0, &time, nullptr);
       std::uint64_t times = 0;
       return call(SYS_read, counter, &times, sizeof times);
     },
     8,
     {}},
};

void prepare_timeouts() {
  semaphore = ::semget(IPC_PRIVATE, 1, 0600);
  epoll = ::epoll_create1(0);
  counter = ::timerfd_create(CLOCK_MONOTONIC, 0);
  begin(kTimeouts, std::size(kTimeouts), false);
}

// On a busy machine something may come late; what waits anew comes a second later at least. SPENT: how long
// the tree was being carried or looked at, while clocks may have gone on: those of a machine stand still with
// it, and before that it is stopped and looked at while it runs.
void expect_timeouts(const Subject& subject, int carries, int looks, std::uint64_t spent) {
  constexpr std::uint64_t kRounding = 2 * kMillisecond;
  if (machine_carries()) carries++, looks++, spent = 0;
  const std::uint64_t late = (machine_carries() ? 30'000 : 900) * kMillisecond + spent;
  for (std::size_t i = 0; i < std::size(kTimeouts); ++i) {
    EXPECT_TRUE(eventually([&] { return number(subject.pid(), returned[i]) != 0; },
                           std::chrono::seconds(10 + 2 * seconds)))
        << kTimeouts[i].name << " does not return";
    EXPECT_EQ(result(subject.pid(), i), kTimeouts[i].expected) << kTimeouts[i].name;
    const auto took = number(subject.pid(), returned[i]) - number(subject.pid(), entered[i]);
    EXPECT_GE(took, kTime - kRounding) << kTimeouts[i].name;
    const bool begun_anew =
        (kTimeouts[i].forgets && carries > 1) || (kTimeouts[i].only_made_anew && looks > 0);
    if (!begun_anew) {
      EXPECT_LE(took, kTime + late) << kTimeouts[i].name;
    }
  }
  ::semctl(of(subject.pid(), semaphore), 0, IPC_RMID);
}

bool has_waited(pid_t pid, std::uint64_t time) {
  return eventually([&] { return now_ns(CLOCK_MONOTONIC) > number(pid, entered[0]) + time; });
}

TEST_F(InterruptedCalls, TimeoutsComeWhenTheyWouldHave) {
  Subject subject(prepare_timeouts);
  ASSERT_TRUE(all_blocked(subject.pid(), std::size(kTimeouts)));
  ASSERT_TRUE(has_waited(subject.pid(), 1500 * kMillisecond));
  const auto before = now_ns(CLOCK_MONOTONIC);
  ASSERT_TRUE(carry(subject));
  expect_timeouts(subject, 1, 0, now_ns(CLOCK_MONOTONIC) - before);
}

// The clocks stand still while the tree is carried.
TEST_F(InterruptedCalls, TimeoutsComeWhenTheyWouldHaveAfterTwoCarries) {
  Subject subject(prepare_timeouts);
  ASSERT_TRUE(all_blocked(subject.pid(), std::size(kTimeouts)));
  ASSERT_TRUE(has_waited(subject.pid(), 1000 * kMillisecond));
  auto before = now_ns(CLOCK_MONOTONIC);
  ASSERT_TRUE(carry(subject));
  auto spent = now_ns(CLOCK_MONOTONIC) - before;
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  before = now_ns(CLOCK_MONOTONIC);
  ASSERT_TRUE(carry(subject));
  spent += now_ns(CLOCK_MONOTONIC) - before;
  expect_timeouts(subject, 2, 0, spent);
}

TEST_F(InterruptedCalls, TimeoutsComeWhenTheyWouldHaveAfterMereLooks) {
  SKIP_WHERE_THE_MACHINE_CARRIES("it carries nothing");
  Subject subject(prepare_timeouts);
  ASSERT_TRUE(all_blocked(subject.pid(), std::size(kTimeouts)));
  ASSERT_TRUE(has_waited(subject.pid(), 1000 * kMillisecond));
  std::uint64_t spent = 0;
  for (int round = 0; round < 3; ++round) {
    const auto before = now_ns(CLOCK_MONOTONIC);
    ASSERT_OK(inspect_trees({subject.pid()}, true));
    spent += now_ns(CLOCK_MONOTONIC) - before;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  expect_timeouts(subject, 0, 3, spent);
}

}  // namespace
}  // namespace upkeep::engine
