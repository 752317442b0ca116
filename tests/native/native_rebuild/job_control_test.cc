// Jobs that are stopped stay stopped, and who has been told of it is not told again.

#include <sys/syscall.h>

#include <algorithm>
#include <thread>

#include "fixture.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using JobControl = TreeTest;

[[noreturn]] void count_forever() {
  for (;;) {
    board().counter.fetch_add(1);
    rest();
  }
}

// All threads of it.
bool is_stopped(pid_t pid) {
  const auto tids = os::list_threads(pid).value_or(std::vector<pid_t>());
  return !tids.empty() && std::ranges::all_of(tids, [pid](pid_t tid) {
    const auto text = os::read_file(fmt::format("/proc/{}/task/{}/stat", pid, tid)).value_or("");
    const auto stat = os::parse_stat(text);
    return stat && stat->state == 'T';
  });
}

pid_t value_pid(const Subject& subject, std::size_t value) {
  return static_cast<pid_t>(peek(subject.pid(), 1 + value));
}

// A shell with two jobs; value 0 and 1: their IDs; 2: how often it was sent SIGCHLD. When value 6 is set, 3
// and 4: the signals by which they were stopped, as far as it has not been told yet.
void become_a_shell() {
  ::signal(SIGCHLD, [](int) { board().value[2]++; });
  for (int i = 0; i < 2; ++i) {
    const pid_t job = ::fork();
    if (job == 0) {
      ::setpgid(0, 0);
      ::signal(SIGCHLD, SIG_DFL);
      count_forever();
    }
    ::setpgid(job, job);
    board().value[i] = static_cast<std::uint64_t>(job);
  }
  for (int i = 0; i < 2; ++i) {
    const auto job = static_cast<pid_t>(board().value[i].load());
    ::kill(job, i == 0 ? SIGTSTP : SIGSTOP);
    siginfo_t info = {};  // of the first one it hears now
    ::waitid(P_PID, static_cast<id_t>(job), &info, WSTOPPED | (i == 0 ? 0 : WNOWAIT));
  }
}

void hear_of_jobs() {
  if (board().value[6] != 1) return;
  for (int i = 0; i < 2; ++i) {
    siginfo_t info = {};
    ::waitid(P_PID, static_cast<id_t>(board().value[i].load()), &info, WSTOPPED | WNOHANG | WNOWAIT);
    board().value[3 + i] = static_cast<std::uint64_t>(info.si_pid == 0 ? 0 : info.si_status);
  }
  board().value[6] = 0;
}

TEST_F(JobControl, StoppedJobsAndWhatTheirShellKnows) {
  Subject subject(become_a_shell, hear_of_jobs);
  const pid_t jobs[] = {value_pid(subject, 0), value_pid(subject, 1)};
  for (const pid_t job : jobs) ASSERT_TRUE(eventually([&] { return is_stopped(job); }));
  const auto told = peek(subject.pid(), 3);
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(carry(subject));
    for (const pid_t job : jobs) {
      EXPECT_TRUE(eventually([&] { return is_stopped(job); }));
      EXPECT_TRUE(stands_still(job));
    }
    EXPECT_EQ(peek(subject.pid(), 3), told) << "it was sent SIGCHLD";
    ASSERT_TRUE(poke(subject.pid(), 7, 1));
    ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 7) == 0; }));
    EXPECT_EQ(peek(subject.pid(), 4), 0U) << "it hears of the first one again";
    EXPECT_EQ(peek(subject.pid(), 5), static_cast<std::uint64_t>(SIGSTOP))
        << "it does not hear of the second one";
  }
  for (const pid_t job : jobs) {
    ::kill(job, SIGCONT);
    EXPECT_TRUE(moves(job));
    ::kill(job, SIGKILL);
  }
}

// By the terminal, and nobody has heard of it yet.
TEST_F(JobControl, TheSignalOfAnUntoldStopIsTold) {
  Subject subject(
      [] {
        const pid_t job = ::fork();
        if (job == 0) {
          ::setpgid(0, 0);
          count_forever();
        }
        ::setpgid(job, job);
        board().value[0] = board().value[1] = static_cast<std::uint64_t>(job);
        ::kill(job, SIGTTIN);
        siginfo_t info = {};
        ::waitid(P_PID, static_cast<id_t>(job), &info, WSTOPPED | WNOWAIT);
      },
      hear_of_jobs);
  const auto job = value_pid(subject, 0);
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(carry(subject));
    EXPECT_TRUE(eventually([&] { return is_stopped(job); }));
    ASSERT_TRUE(poke(subject.pid(), 7, 1));
    ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 7) == 0; }));
    EXPECT_EQ(peek(subject.pid(), 4), static_cast<std::uint64_t>(SIGTTIN));
  }
  ::kill(job, SIGKILL);
}

// value 0: the program, whose threads count in values 1 to 3. Stopped, with a signal that waits for it to go
// on.
TEST_F(JobControl, AProgramWithThreads) {
  Subject subject([] {
    const pid_t program = ::fork();
    if (program == 0) {
      ::signal(SIGTERM, [](int) { board().value[4]++; });
      for (int i = 1; i <= 3; ++i) {
        std::thread([i] {
          for (;;) {
            board().value[i]++;
            rest();
          }
        }).detach();
      }
      count_forever();
    }
    board().value[0] = static_cast<std::uint64_t>(program);
  });
  const auto program = value_pid(subject, 0);
  ASSERT_TRUE(
      eventually([&] { return peek(program, 2) > 0 && peek(program, 3) > 0 && peek(program, 4) > 0; }));
  ASSERT_EQ(os::list_threads(program)->size(), 4U);
  ::kill(program, SIGSTOP);
  ASSERT_TRUE(eventually([&] { return is_stopped(program); }));
  ::kill(program, SIGTERM);
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(carry(subject));
    EXPECT_TRUE(eventually([&] { return is_stopped(program); }));
    EXPECT_EQ(os::list_threads(program)->size(), 4U);
    EXPECT_TRUE(stands_still(program));
    EXPECT_EQ(peek(program, 5), 0U) << "a signal was taken while it stood";
  }
  const std::uint64_t before[] = {peek(program, 2), peek(program, 3), peek(program, 4)};
  ::kill(program, SIGCONT);
  EXPECT_TRUE(moves(program));
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_TRUE(eventually([&] { return peek(program, 2 + i) > before[i]; }));
  EXPECT_TRUE(eventually([&] { return peek(program, 5) == 1; }));
  ::kill(program, SIGKILL);
}

// Parent and child both, of which one is the root.
TEST_F(JobControl, AWholeTree) {
  Subject subject([] {
    const pid_t child = ::fork();
    if (child == 0) count_forever();
    board().value[0] = static_cast<std::uint64_t>(child);
  });
  const auto child = value_pid(subject, 0);
  ASSERT_TRUE(moves(child));
  for (const pid_t pid : {child, subject.pid()}) {
    ::kill(pid, SIGSTOP);
    ASSERT_TRUE(eventually([&] { return is_stopped(pid); }));
  }
  for (const bool stopped : {false, true}) {
    if (stopped) {
      ASSERT_TRUE(os::remove_tree(images()));
      ASSERT_OK(save_trees({subject.pid()}, images(), false));
      ASSERT_TRUE(eventually([&] {
        for (const pid_t pid : {subject.pid(), child}) ::waitpid(pid, nullptr, WNOHANG);
        return ::kill(subject.pid(), 0) < 0 && ::kill(child, 0) < 0;
      }));
      ASSERT_OK(restore_trees(images(), true));
    } else {
      ASSERT_TRUE(make_again({subject.pid()}));
    }
    for (const pid_t pid : {child, subject.pid()}) {
      EXPECT_TRUE(eventually([&] { return is_stopped(pid); }));
      EXPECT_TRUE(stands_still(pid));
    }
  }
  for (const pid_t pid : {child, subject.pid()}) {
    ::kill(pid, SIGCONT);
    EXPECT_TRUE(moves(pid));
  }
  ::kill(child, SIGKILL);
}

}  // namespace
}  // namespace upkeep::engine
