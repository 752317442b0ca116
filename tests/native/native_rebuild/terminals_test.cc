// Pseudo-terminals: a parent that holds the master, as a terminal multiplexer does, and a session on the
// slave.

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include <algorithm>
#include <cstring>

#include "engine/inspect/inspect.h"
#include "fixture.h"
#include "os/procfs.h"
#include "os/terminal.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

using Terminals = TreeTest;

// Behind the machine's upgrade other tests run beside this one: its terminals' numbers may be theirs, while
// it carries itself.
int carries() { return machine_carries() ? 1 : 2; }

// What a test asks its subject to do, by value 6 of its board; 0 again when it has been done.
void ask(pid_t pid, std::uint64_t what) {
  const iovec local = {&what, sizeof what}, remote = {reinterpret_cast<void*>(kBoard + 56), sizeof what};
  ASSERT_EQ(::process_vm_writev(pid, &local, 1, &remote, 1, 0), 8);
  ASSERT_TRUE(eventually([&] { return peek(pid, 7) == 0; }));
}

struct Pair {
  int master = -1, slave = -1;
};
Pair open_pair() {
  Pair pair;
  pair.master = ::posix_openpt(O_RDWR | O_NOCTTY);
  ::unlockpt(pair.master);
  pair.slave = ::ioctl(pair.master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
  return pair;
}

void set_local(int fd, tcflag_t local) {
  termios attributes = {};
  ::tcgetattr(fd, &attributes);
  attributes.c_lflag = local;
  ::tcsetattr(fd, TCSANOW, &attributes);
}

void count_forever(const std::function<void()>& step) {
  for (;;) {
    step();
    board().counter.fetch_add(1);
    rest();
  }
}

// What is there to be read, without waiting.
std::string read_now(int fd) {
  std::string text;
  pollfd wanted = {fd, POLLIN, 0};
  while (::poll(&wanted, 1, 50) > 0 && (wanted.revents & POLLIN) != 0) {
    char buffer[8192];
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got <= 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

pid_t value_pid(const Subject& subject, std::size_t value) {
  return static_cast<pid_t>(peek(subject.pid(), 1 + value));
}

// value 0: the shell, 1: its foreground job, 2: a background job
void become_multiplexer() {
  const auto pair = open_pair();  // 3 and 4
  const winsize size = {24, 80, 0, 0};
  ::ioctl(pair.master, TIOCSWINSZ, &size);
  int ends[2];
  (void)!::pipe(ends);
  const pid_t shell = ::fork();
  if (shell == 0) {
    ::close(pair.master);
    ::setsid();
    ::ioctl(pair.slave, TIOCSCTTY, 0);
    ::signal(SIGTTOU, SIG_IGN);
    pid_t jobs[2];
    for (auto& job : jobs) {
      job = ::fork();
      if (job == 0) {
        ::setpgid(0, 0);
        ::signal(SIGINT, [](int) { board().value[0]++; });
        ::signal(SIGWINCH, [](int) {
          winsize now = {};
          ::ioctl(4, TIOCGWINSZ, &now);
          board().value[1] = now.ws_col;
        });
        ::signal(SIGHUP, [](int) { board().value[2]++; });
        count_forever([] { board().value[3] = static_cast<std::uint64_t>(::tcgetpgrp(4)); });
      }
      ::setpgid(job, job);
    }
    ::tcsetpgrp(pair.slave, jobs[0]);
    (void)!::write(ends[1], jobs, sizeof jobs);
    count_forever([] {});
  }
  ::close(pair.slave);
  pid_t jobs[2];
  (void)!::read(ends[0], jobs, sizeof jobs);
  ::close(ends[0]), ::close(ends[1]);
  board().value[0] = static_cast<std::uint64_t>(shell);
  board().value[1] = static_cast<std::uint64_t>(jobs[0]);
  board().value[2] = static_cast<std::uint64_t>(jobs[1]);
}

void multiplex() {
  const winsize larger = {50, 132, 0, 0};
  if (board().value[6] == 1) (void)!::write(3, "\x03", 1);
  if (board().value[6] == 2) ::ioctl(3, TIOCSWINSZ, &larger);
  if (board().value[6] == 3) {
    (void)read_now(3);
    (void)!::write(3, "hello\n", 6);
    HOLDS(read_now(3) == "hello\r\n");
  }
  board().value[6] = 0;
}

TEST_F(Terminals, AShellAndItsJobsGoOn) {
  Subject subject(become_multiplexer, multiplex);
  const auto shell = value_pid(subject, 0), job = value_pid(subject, 1), other = value_pid(subject, 2);
  ASSERT_TRUE(eventually([&] { return peek(job, 4) == static_cast<std::uint64_t>(job); }));
  const auto before = os::read_stat(job);
  ASSERT_OK(before);
  ASSERT_NE(before->tty_nr, 0);
  for (std::uint64_t round = 1; round <= 2; ++round) {
    ASSERT_TRUE(carry(subject));
    const auto after = os::read_stat(job);
    ASSERT_OK(after);
    EXPECT_EQ(after->tty_nr, before->tty_nr);
    EXPECT_EQ(after->session, shell);
    ask(subject.pid(), 1);
    EXPECT_TRUE(eventually([&] { return peek(job, 1) == round; })) << "^C does not reach the foreground";
    EXPECT_EQ(peek(other, 1), 0U) << "^C reaches the background";
    EXPECT_TRUE(eventually([&] { return peek(job, 4) == static_cast<std::uint64_t>(job); }));
  }
  EXPECT_EQ(peek(job, 2), 0U) << "it was told of another size, and there was none";
  ask(subject.pid(), 2);
  EXPECT_TRUE(eventually([&] { return peek(job, 2) == 132; })) << "no SIGWINCH";
  ask(subject.pid(), 3);
  EXPECT_EQ(peek(job, 3), 0U) << "SIGHUP";
  EXPECT_NO_COMPLAINT(subject);
  for (pid_t pid : {job, other, shell}) ::kill(pid, SIGKILL);
}

// `a | b` in the foreground, of which a has ended. value 0: the shell, 1: b, 2: the ID of a; asked for 1: ^C
TEST_F(Terminals, AForegroundJobWhoseLeaderHasEnded) {
  Subject subject(
      [] {
        const auto pair = open_pair();
        int ends[2];
        (void)!::pipe(ends);
        const pid_t shell = ::fork();
        if (shell == 0) {
          ::close(pair.master);
          ::setsid();
          ::ioctl(pair.slave, TIOCSCTTY, 0);
          ::signal(SIGTTOU, SIG_IGN);
          const pid_t leader = ::fork();
          if (leader == 0)
            for (;;) ::pause();
          ::setpgid(leader, leader);
          const pid_t job = ::fork();
          if (job == 0) {
            ::setpgid(0, leader);
            ::signal(SIGINT, [](int) { board().value[0]++; });
            const pid_t ids[] = {::getpid(), leader};
            (void)!::write(ends[1], ids, sizeof ids);
            ::close(ends[0]), ::close(ends[1]);
            count_forever([] { board().value[3] = static_cast<std::uint64_t>(::tcgetpgrp(4)); });
          }
          while (::getpgid(job) != leader) ::usleep(1000);
          ::tcsetpgrp(pair.slave, leader);
          ::kill(leader, SIGKILL);
          ::waitpid(leader, nullptr, 0);
          ::close(ends[0]), ::close(ends[1]);
          count_forever([] {
            (void)::waitpid(-1, nullptr, WNOHANG);
            board().value[3] = static_cast<std::uint64_t>(::tcgetpgrp(4));
          });
        }
        ::close(pair.slave);
        pid_t ids[2];
        (void)!::read(ends[0], ids, sizeof ids);
        ::close(ends[0]), ::close(ends[1]);
        board().value[0] = static_cast<std::uint64_t>(shell);
        board().value[1] = static_cast<std::uint64_t>(ids[0]);
        board().value[2] = static_cast<std::uint64_t>(ids[1]);
      },
      multiplex);
  const auto shell = value_pid(subject, 0), job = value_pid(subject, 1), group = value_pid(subject, 2);
  ASSERT_TRUE(eventually([&] { return !os::read_stat(group); }));
  ASSERT_TRUE(eventually([&] { return peek(job, 4) == static_cast<std::uint64_t>(group); }));
  for (std::uint64_t round = 1; round <= 2; ++round) {
    ASSERT_TRUE(carry(subject));
    EXPECT_FALSE(os::read_stat(group)) << "a stand-in is left";
    EXPECT_EQ(os::read_stat(job)->pgrp, group);
    EXPECT_TRUE(moves(job));
    EXPECT_EQ(peek(job, 4), static_cast<std::uint64_t>(group)) << "it is not in the foreground";
    ask(subject.pid(), 1);
    EXPECT_TRUE(eventually([&] { return peek(job, 1) == round; })) << "^C does not reach the foreground";
  }
  // Nobody is left in it, and the terminal goes on naming it.
  ::kill(job, SIGKILL);
  ASSERT_TRUE(eventually([&] { return !os::read_stat(job); }));
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(moves(shell));
  EXPECT_EQ(peek(shell, 4), static_cast<std::uint64_t>(group));
  ::kill(shell, SIGKILL);
}

// A job whose leader is the session's has let go of the terminal.
TEST_F(Terminals, WhoHasLetGoOfItHasNone) {
  Subject subject([] {
    const auto pair = open_pair();
    if (const pid_t shell = ::fork(); shell == 0) {
      ::setsid();
      ::ioctl(pair.slave, TIOCSCTTY, 0);
      if (const pid_t job = ::fork(); job == 0) {
        ::ioctl(pair.slave, TIOCNOTTY);
        count_forever([] {});
      } else {
        board().value[0] = static_cast<std::uint64_t>(job);
      }
      count_forever([] {});
    } else {
      board().value[0] = static_cast<std::uint64_t>(shell);
    }
  });
  const auto shell = value_pid(subject, 0);
  ASSERT_TRUE(eventually([&] { return static_cast<std::int64_t>(peek(shell, 1)) > 0; }));
  const auto job = static_cast<pid_t>(peek(shell, 1));
  ASSERT_TRUE(eventually([&] { return os::read_stat(job)->tty_nr == 0; }));
  ASSERT_TRUE(carry(subject));
  EXPECT_NE(os::read_stat(shell)->tty_nr, 0);
  EXPECT_EQ(os::read_stat(job)->tty_nr, 0);
  for (pid_t pid : {job, shell}) ::kill(pid, SIGKILL);
}

// Lines, one that end-of-file has ended, one that has no end yet; with bytes that would mean something.
TEST_F(Terminals, TypedLinesAndOutputThatNobodyHasReadYet) {
  Subject subject(
      [] {
        const auto pair = open_pair();
        ::fcntl(pair.slave, F_SETFL, O_NONBLOCK);
        set_local(pair.slave, ICANON | IEXTEN);
        (void)!::write(pair.master,
                       "first\nsec\x16\x04\x16\nond\nthird\x04\x04"
                       "fo\x16\x16ur",
                       30);
        (void)!::write(pair.slave, "out\n\x03\x11\xff", 7);
        ::usleep(20'000);
      },
      [] {
        if (board().value[6] != 1) return;
        auto line = [] {
          char buffer[8192];
          const ssize_t got = ::read(4, buffer, sizeof buffer);
          return got < 0 ? std::string("none") : std::string(buffer, static_cast<std::size_t>(got));
        };
        HOLDS(line() == "first\n");
        HOLDS(line() == "sec\x04\nond\n");
        HOLDS(line() == "third");
        HOLDS(line().empty());
        HOLDS(line() == "none");
        (void)!::write(3, "th\n", 3);
        ::usleep(20'000);
        HOLDS(line() == "fo\x16urth\n");
        HOLDS(read_now(3) == "out\r\n\x03\x11\xff");
        board().value[6] = 0;
      });
  ASSERT_OK(save_trees({subject.pid()}, folder_.path() + "/before", true));  // and it is all there
  for (int round = 0; round < carries(); ++round) ASSERT_TRUE(carry(subject));
  ask(subject.pid(), 1);
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Terminals, TypedBytesOfARawTerminal) {
  Subject subject(
      [] {
        const auto pair = open_pair();
        ::fcntl(pair.slave, F_SETFL, O_NONBLOCK);
        set_local(pair.slave, 0);
        termios attributes = {};
        ::tcgetattr(pair.slave, &attributes);
        attributes.c_iflag = 0;
        ::tcsetattr(pair.slave, TCSANOW, &attributes);
        (void)!::write(pair.master, "\x03\x04\r\x11\x13\0\xff\x1b[A", 10);
        ::usleep(20'000);
        attributes.c_iflag = ICRNL | IXON | ISTRIP;
        ::tcsetattr(pair.slave, TCSANOW, &attributes);
      },
      [] {
        if (board().value[6] != 1) return;
        HOLDS(read_now(4) == std::string("\x03\x04\r\x11\x13\0\xff\x1b[A", 10));
        (void)!::write(3, "\r\xe1", 2);
        HOLDS(read_now(4) == "\na");
        board().value[6] = 0;
      });
  for (int round = 0; round < carries(); ++round) ASSERT_TRUE(carry(subject));
  ask(subject.pid(), 1);
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Terminals, SizeSpeedModesOwner) {
  Subject subject(
      [] {
        const auto pair = open_pair();
        const winsize size = {33, 101, 640, 480};
        ::ioctl(pair.slave, TIOCSWINSZ, &size);
        auto attributes = os::terminal_attributes(os::Fd(pair.slave)).value();
        attributes.input_speed = attributes.output_speed = 31250;  // MIDI's: none of the usual ones
        attributes.control = (attributes.control & ~static_cast<std::uint32_t>(CBAUD)) | 0010000U;  // BOTHER
        attributes.characters[VERASE] = 'x';
        (void)os::set_terminal_attributes(os::Fd(pair.slave), attributes);
        const int packets = 1;
        ::ioctl(pair.master, TIOCPKT, &packets);
        ::ioctl(pair.slave, TIOCEXCL);
        ::fchmod(pair.slave, 0642);
        ::fchown(pair.slave, 1234, 4321);
        ::fcntl(pair.master, F_SETFL, O_NONBLOCK);
        (void)!::write(pair.slave, "packet", 6);
      },
      [] {
        winsize size = {};
        ::ioctl(4, TIOCGWINSZ, &size);
        HOLDS(size.ws_row == 33 && size.ws_col == 101 && size.ws_xpixel == 640 && size.ws_ypixel == 480);
        const auto attributes = os::terminal_attributes(os::Fd(4)).value();
        HOLDS(attributes.input_speed == 31250 && attributes.output_speed == 31250);
        HOLDS(attributes.characters[VERASE] == 'x');
        int packets = 0, exclusive = 0;
        ::ioctl(3, TIOCGPKT, &packets);
        ::ioctl(4, TIOCGEXCL, &exclusive);
        HOLDS(packets == 1 && exclusive == 1);
        HOLDS((::fcntl(3, F_GETFL) & O_NONBLOCK) != 0 && (::fcntl(4, F_GETFL) & O_NONBLOCK) == 0);
        struct stat status = {};
        ::fstat(4, &status);
        HOLDS((status.st_mode & 07777U) == 0642 && status.st_uid == 1234 && status.st_gid == 4321);
        if (board().value[6] != 1) return;
        HOLDS(read_now(3) == std::string("\0packet", 7));
        board().value[6] = 0;
      });
  for (int round = 0; round < carries(); ++round) ASSERT_TRUE(carry(subject));
  ask(subject.pid(), 1);
  EXPECT_NO_COMPLAINT(subject);
}

// ^S, with output from before it; ^Q lets it go on.
TEST_F(Terminals, OutputThatIsHeldBack) {
  Subject subject(
      [] {
        const auto pair = open_pair();
        ::fcntl(pair.slave, F_SETFL, O_NONBLOCK);
        (void)!::write(pair.slave, "before", 6);
        (void)!::write(pair.master, "\x13", 1);
        ::usleep(20'000);
      },
      [] {
        HOLDS(::write(4, "x", 1) < 0 && errno == EAGAIN);
        if (board().value[6] != 1) return;
        (void)!::write(3, "\x11", 1);
        ::usleep(20'000);
        HOLDS(::write(4, "after", 5) == 5);
        HOLDS(read_now(3) == "beforeafter");
        (void)!::write(3, "\x13", 1);
        ::usleep(20'000);
        board().value[6] = 0;
      });
  for (int round = 0; round < carries(); ++round) ASSERT_TRUE(carry(subject));
  ask(subject.pid(), 1);
  EXPECT_NO_COMPLAINT(subject);
}

// The last words of a job that has ended, and then nothing.
TEST_F(Terminals, OneThatNobodyHasOpenAnyMore) {
  Subject subject(
      [] {
        const auto pair = open_pair();
        (void)!::write(pair.slave, "bye", 3);
        ::close(pair.slave);
      },
      [] {
        if (board().value[6] != 1) return;
        HOLDS(read_now(3) == "bye");
        char byte = 0;
        HOLDS(::read(3, &byte, 1) < 0 && errno == EIO);
        board().value[6] = 0;
      });
  // Side by side with others the number is soon somebody else's.
  for (int round = 0; round < (machine_carries() ? 1 : 2); ++round) ASSERT_TRUE(carry(subject));
  ask(subject.pid(), 1);
  EXPECT_NO_COMPLAINT(subject);
}

// What `nohup` leaves behind.
TEST_F(Terminals, OneWhoseMasterIsGone) {
  Subject subject(
      [] {
        const auto pair = open_pair();
        ::close(pair.master);
      },
      [] {
        char byte = 0;
        HOLDS(::read(4, &byte, 1) == 0);
        HOLDS(::write(4, &byte, 1) < 0 && errno == EIO);
        HOLDS(::fcntl(3, F_GETFD) < 0);
      });
  for (int round = 0; round < carries(); ++round) ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Terminals, NumbersStayTheSame) {
  const auto before = open_pair();  // so that the subject's numbers are not the lowest free ones afterwards
  Subject subject(
      [] {
        const auto first = open_pair(), second = open_pair(), third = open_pair();  // 3 to 8
        ::close(second.master), ::close(second.slave);
        for (std::size_t i = 0; i < 2; ++i) {
          int number = -1;
          ::ioctl((i == 0 ? first : third).master, TIOCGPTN, &number);
          board().value[i] = static_cast<std::uint64_t>(number);
        }
      },
      [] {
        int first = -1, third = -1;
        ::ioctl(3, TIOCGPTN, &first);
        ::ioctl(7, TIOCGPTN, &third);
        HOLDS(first == static_cast<int>(board().value[0]) && third == static_cast<int>(board().value[1]));
        char name[64] = {};
        HOLDS(::ttyname_r(8, name, sizeof name) == 0 && fmt::format("/dev/pts/{}", third) == name);
      });
  ::close(before.master), ::close(before.slave);
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);

  ASSERT_TRUE(os::remove_tree(images()));
  ASSERT_OK(save_trees({subject.pid()}, images(), false));
  std::vector<Pair> taken;
  constexpr std::size_t kMore = 64;
  taken.reserve(kMore);
  while (taken.size() < kMore) taken.push_back(open_pair());
  auto restored = restore_trees(images(), false);
  for (const auto& pair : taken) ::close(pair.master), ::close(pair.slave);
  ASSERT_FALSE(restored);
  EXPECT_THAT(restored.error().message(), HasSubstr("is in use by another process"));
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
}

std::string refusal(const Subject& subject, const std::string& folder) {
  auto saved = save_trees({subject.pid()}, folder, true);
  return saved ? "nothing" : saved.error().message();
}

TEST_F(Terminals, WhoseOtherSideIsOutsideIsNamed) {
  const auto pair = open_pair();
  const auto path = os::read_link(fmt::format("/proc/self/fd/{}", pair.slave)).value();
  auto keeper = os::fork_child([&] {
    for (;;) ::pause();
    return 0;
  });
  ASSERT_OK(keeper);
  ::close(pair.master), ::close(pair.slave);
  {
    Subject subject([&] {
      (void)::open(path.c_str(), O_RDWR);
      board().value[0] = static_cast<std::uint64_t>(::tcgetsid(3));
    });
    EXPECT_EQ(value_pid(subject, 0), subject.pid());
    const auto error = refusal(subject, images());
    EXPECT_THAT(error, HasSubstr("the controlling terminal " + path));
    EXPECT_THAT(error, HasSubstr(fmt::format("process {} ", keeper->pid)));
    EXPECT_THAT(error, HasSubstr("holds its other side"));
    EXPECT_TRUE(moves(subject.pid()));
  }
  ::kill(keeper->pid, SIGKILL);
  EXPECT_TRUE(os::wait_child(*keeper, std::chrono::seconds(10)));
}

TEST_F(Terminals, WhoElseHasItOpenIsNamed) {
  Subject subject([] {
    const auto pair = open_pair();
    int number = -1;
    ::ioctl(pair.master, TIOCGPTN, &number);
    board().value[0] = static_cast<std::uint64_t>(number);
  });
  const auto path = fmt::format("/dev/pts/{}", value_pid(subject, 0));
  auto user = os::fork_child([&] {
    (void)::open(path.c_str(), O_RDWR | O_NOCTTY);
    for (;;) ::pause();
    return 0;
  });
  ASSERT_OK(user);
  ASSERT_TRUE(eventually([&] {
    const auto descriptors = os::list_descriptors(user->pid);
    return std::any_of(descriptors.begin(), descriptors.end(), [&](const auto& d) { return d.link == path; });
  }));
  EXPECT_THAT(refusal(subject, images()), HasSubstr(fmt::format("process {} ", user->pid)));
  ::kill(user->pid, SIGKILL);
  EXPECT_TRUE(os::wait_child(*user, std::chrono::seconds(10)));
  EXPECT_TRUE(carry(subject));
}

TEST_F(Terminals, WhatCannotBeSeenIsRefused) {
  Subject unopened([] {
    const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
    ::unlockpt(master);
  });
  EXPECT_THAT(refusal(unopened, images()), HasSubstr("its other side has never been opened"));
  Subject told([] {
    const auto pair = open_pair();
    const int packets = 1;
    ::ioctl(pair.master, TIOCPKT, &packets);
    ::tcflush(pair.slave, TCIFLUSH);
  });
  EXPECT_THAT(refusal(told, images()), HasSubstr("packet mode"));
  Subject full([] {
    const auto pair = open_pair();
    set_local(pair.slave, 0);
    ::fcntl(pair.master, F_SETFL, O_NONBLOCK);
    const std::string much(16384, 'x');
    (void)!::write(pair.master, much.data(), much.size());
  });
  EXPECT_THAT(refusal(full, images()), HasSubstr("more has been typed than could be put back"));
}

// Whoever saves is killed while it looks into the queues: they are as before.
TEST_F(Terminals, NothingIsLostWhenTheSaverIsKilled) {
  Subject subject(
      [] {
        const auto pair = open_pair();
        set_local(pair.slave, ICANON);
        for (int i = 0; i < 200; ++i) (void)!::write(pair.master, "typed\n", 6);
        (void)!::write(pair.master, "partly", 6);
        for (int i = 0; i < 100; ++i) (void)!::write(pair.slave, "said\n", 5);
        ::usleep(20'000);
      },
      [] {
        if (board().value[6] != 1) return;
        for (int i = 0; i < 200; ++i) {
          char line[64] = {};
          HOLDS(::read(4, line, sizeof line) == 6 && std::strcmp(line, "typed\n") == 0);
        }
        (void)!::write(3, "\n", 1);
        char line[64] = {};
        HOLDS(::read(4, line, sizeof line) == 7 && std::strcmp(line, "partly\n") == 0);
        HOLDS(read_now(3).size() == 600);
        board().value[6] = 0;
      });
  for (int round = 0; round < 40; ++round) {
    auto saver = os::fork_child([&] {
      (void)save_trees({subject.pid()}, fmt::format("{}/{}", folder_.path(), round), true);
      return 0;
    });
    ASSERT_OK(saver);
    std::this_thread::sleep_for(std::chrono::microseconds(round * 600));
    ::kill(saver->pid, SIGKILL);
    ASSERT_TRUE(os::wait_child(*saver, std::chrono::seconds(20)));
    ASSERT_TRUE(moves(subject.pid())) << "round " << round;
    // Who puts them back may be at it still: it belongs to the test.
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ask(subject.pid(), 1);
  EXPECT_NO_COMPLAINT(subject);
}

}  // namespace
}  // namespace upkeep::engine
