// What snapshot and restore promise as a whole.

#include <elf.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cstring>

#include "engine/carry_set.h"
#include "engine/engine.h"
#include "engine/image.h"
#include "engine/inspect/inspect.h"
#include "engine/rebuild/rebuild.h"
#include "engine/verify/verify.h"
#include "fixture.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

using Trees = TreeTest;

TEST_F(Trees, CountsOnUnderItsPid) {
  Subject subject;
  ASSERT_TRUE(moves(subject.pid()));
  const auto before = peek(subject.pid());
  ASSERT_TRUE(carry(subject));
  EXPECT_GE(peek(subject.pid()), before);
  EXPECT_LT(peek(subject.pid()), before + 1'000'000);
}

TEST_F(Trees, ThreeTimesInARowTheClocksGoOn) {
  // value 0 and 1: the last times read; value 2: how often one went back; 3: the longest step in ns
  Subject subject({}, [] {
    auto& value = board().value;
    const std::uint64_t clocks[] = {now_ns(CLOCK_MONOTONIC), now_ns(CLOCK_BOOTTIME)};
    for (int i = 0; i < 2; ++i) {
      if (clocks[i] < value[i]) value[2]++;
      if (value[i] != 0 && clocks[i] - value[i] > value[3]) value[3] = clocks[i] - value[i];
      value[i] = clocks[i];
    }
  });
  for (int round = 0; round < 3; ++round) {
    auto saved = save_trees({subject.pid()}, images(), false);
    ASSERT_OK(saved);
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    auto restored = restore_trees(images(), false);
    ASSERT_OK(restored);
    ASSERT_TRUE(moves(subject.pid()));
    ASSERT_TRUE(os::remove_tree(images()));
    ASSERT_EQ(peek(subject.pid(), 3), 0U) << "a clock went back in round " << round;
  }
  EXPECT_LT(peek(subject.pid(), 4), 1'400'000'000U) << "the time in between was noticed";
}

// What new tasks have said on the way (rebuild/roll_call.h) is all that only they can say: no system call is
// run in them afterwards.
TEST_F(Trees, NothingHasToBeAskedAgain) {
  SKIP_WHERE_THE_MACHINE_CARRIES("it makes its tree by itself");
  Subject subject([] {
    (void)::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
    ::syscall(SYS_add_key, "user", "upkeep-test", "payload", 7, KEY_SPEC_SESSION_KEYRING);
    for (const int signal : {SIGUSR1, SIGWINCH, SIGRTMAX}) ::signal(signal, [](int) {});
    ::signal(SIGUSR2, SIG_IGN);
    sigevent event = {};
    event.sigev_signo = SIGUSR1;
    timer_t timer = nullptr;
    const itimerspec time = {{3600, 0}, {3600, 0}};
    ::timer_create(CLOCK_MONOTONIC, &event, &timer);
    ::timer_settime(timer, 0, &time, nullptr);
    if (::fork() == 0) {
      for (;;) ::pause();
    }
    for (std::uint64_t i = 1; i <= 3; ++i) {
      std::thread([i] {
        ::prctl(PR_SET_TIMERSLACK, 1000 * i);
        board().value[0]++;
        for (;;) ::pause();
      }).detach();
    }
  });
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 1) == 3; }));
  const auto ended = save_trees({subject.pid()}, images(), false);
  ASSERT_OK(ended);
  ASSERT_TRUE(are_gone(ended->pids));
  const auto saved = load_image(images());
  ASSERT_OK(saved);
  auto tasks = rebuild(*saved, pages_of(images()));
  ASSERT_OK(tasks);
  const auto answers = tasks->answers();
  auto tree = verify(*saved, std::move(*tasks));
  ASSERT_OK(tree);
  InspectRequest request;
  request.tasks = Look::just_made;
  request.scope = Scope::trees;
  request.answers = &answers;
  const auto seen = inspect(*tree, request);
  ASSERT_OK(seen);
  EXPECT_EQ(answers.not_found(), 0U);
  ASSERT_EQ(seen->keyrings.size(), 1U);
  EXPECT_EQ(seen->keyrings[0].keys, saved->keyrings.at(0).keys);
  const auto &now = seen->processes[0], &then = saved->processes[0];
  EXPECT_EQ(now.stopped->actions, then.stopped->actions);
  ASSERT_EQ(now.stopped->posix_timers.size(), 1U);
  EXPECT_EQ(now.stopped->posix_timers[0].interval, then.stopped->posix_timers[0].interval);
  for (std::size_t i = 0; i < then.threads.size(); ++i)
    EXPECT_EQ(now.threads.at(i).scheduling.timer_slack, then.threads[i].scheduling.timer_slack);
  ASSERT_OK(tree->kill());
}

TEST_F(Trees, LeftRunningItRunsOn) {
  Subject subject;
  auto saved = save_trees({subject.pid()}, images(), true);
  ASSERT_OK(saved);
  EXPECT_TRUE(moves(subject.pid()));
  struct stat status = {};
  for (const char* name : {"", "/manifest.json", "/pages"}) {
    ASSERT_EQ(::stat((images() + name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077, 0U) << name;
  }
  auto restored = restore_trees(images(), false);
  ASSERT_FALSE(restored);
  EXPECT_THAT(restored.error().message(), HasSubstr(fmt::format("the ID {} is taken", subject.pid())));
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Trees, StoppedUntilContinued) {
  Subject subject;
  ASSERT_OK(save_trees({subject.pid()}, images(), false));
  ASSERT_OK(restore_trees(images(), true));
  EXPECT_TRUE(stands_still(subject.pid()));
  ::kill(subject.pid(), SIGCONT);
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Trees, RefusedByNameBeforeAnythingStops) {
  Subject subject([] { (void)::open("/proc/1/stat", O_RDONLY); });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("descriptor 3 (/proc/1/stat"));
  EXPECT_FALSE(os::exists(images()));
  EXPECT_TRUE(moves(subject.pid()));
}

// A program that does nothing but pause(2), by the calls of 32 bits.
std::string program_of_32_bits() {
  struct {
    Elf32_Ehdr head = {};
    Elf32_Phdr segment = {};
    unsigned char code[9] = {0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7};
  } file;
  constexpr Elf32_Addr kPlace = 0x8048000;
  std::memcpy(file.head.e_ident,
              "\x7f"
              "ELF\x1\x1\x1",
              7);
  file.head.e_type = ET_EXEC, file.head.e_machine = EM_386, file.head.e_version = 1;
  file.head.e_ehsize = sizeof file.head, file.head.e_phentsize = sizeof file.segment, file.head.e_phnum = 1;
  file.head.e_phoff = sizeof file.head, file.head.e_entry = kPlace + offsetof(decltype(file), code);
  file.segment = {PT_LOAD, 0, kPlace, kPlace, sizeof file, sizeof file, PF_R | PF_X, 4096};
  return {reinterpret_cast<const char*>(&file), sizeof file};
}

TEST_F(Trees, TasksOf32BitsAreRefusedBeforeAnythingStops) {
  const auto path = folder_.path() + "/program";
  ASSERT_OK(os::replace_file(path, program_of_32_bits(), 0700));
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setsid();
    become_a_subject();
    ::execl(path.c_str(), path.c_str(), nullptr);
    ::_exit(77);
  }
  const bool there = eventually([&] {
    const auto stat = os::read_stat(pid);
    return os::read_link(fmt::format("/proc/{}/exe", pid)).value_or("") == path || !stat ||
           stat->state == 'Z';
  });
  const bool started = os::read_link(fmt::format("/proc/{}/exe", pid)).value_or("") == path;
  if (started) {
    const auto seen = inspect_trees({pid}, false);
    const auto saved = save_trees({pid}, images(), false);
    EXPECT_TRUE(seen && seen->snapshot.obstacles.size() == 1 &&
                seen->snapshot.obstacles[0].why == "32-bit tasks are not rebuilt");
    EXPECT_TRUE(!saved && saved.error().message().find("32-bit tasks are not rebuilt") != std::string::npos);
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  ASSERT_TRUE(there);
  if (!started) GTEST_SKIP() << "this kernel runs no programs of 32 bits";
}

TEST_F(Trees, AFolderThatIsInUseIsLeftAlone) {
  Subject subject;
  ASSERT_TRUE(os::make_directories(images()));
  ASSERT_TRUE(os::replace_file(images() + "/precious", "x"));
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("something in it already"));
  EXPECT_TRUE(os::exists(images() + "/precious"));
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Trees, ParentsSessionsAndGroups) {
  // 0: child in the session and a group of its own; 1: grandchild in a session of its own; 2: child with a
  // different session whose own child was born before
  Subject subject([] {
    auto& value = board().value;
    int ends[2];
    (void)!::pipe(ends);
    auto born = [&](int index, const std::function<void()>& body) {
      const pid_t pid = ::fork();
      if (pid == 0) {
        body();
        for (;;) ::pause();
      }
      value[index] = static_cast<std::uint64_t>(pid);
    };
    born(0, [] { ::setpgid(0, 0); });
    born(1, [&] {
      const pid_t before = ::fork();
      if (before == 0)
        for (;;) ::pause();
      ::setsid();
      (void)!::write(ends[1], &before, sizeof before);
    });
    pid_t before = 0;
    (void)!::read(ends[0], &before, sizeof before);
    value[2] = static_cast<std::uint64_t>(before);
    ::close(ends[0]), ::close(ends[1]);
  });
  const auto pid = subject.pid();
  const auto first = static_cast<pid_t>(peek(pid, 1)), second = static_cast<pid_t>(peek(pid, 2)),
             third = static_cast<pid_t>(peek(pid, 3));
  ASSERT_TRUE(eventually([&] { return os::read_stat(first)->pgrp == first; }));
  ASSERT_TRUE(carry(subject));
  auto stat = [](pid_t of) { return os::read_stat(of).value_or(os::ProcStat{}); };
  EXPECT_EQ(stat(first).ppid, pid);
  EXPECT_EQ(stat(first).pgrp, first);
  EXPECT_EQ(stat(first).session, pid);
  EXPECT_EQ(stat(second).ppid, pid);
  EXPECT_EQ(stat(second).session, second);
  EXPECT_EQ(stat(third).ppid, second);
  EXPECT_EQ(stat(third).session, pid);
  for (pid_t child : {first, second, third}) ::kill(child, SIGKILL);
}

// Whoever helps to make them gets the next one that is free.
TEST_F(Trees, TheNextIdIsOneOfTheirs) {
  SKIP_WHERE_THE_MACHINE_CARRIES("it asks for the next ID between saving and restoring");
  Subject subject;
  const auto ended = save_trees({subject.pid()}, images(), false);
  ASSERT_OK(ended);
  ASSERT_TRUE(are_gone(ended->pids));
  ASSERT_OK(os::write_value("/proc/sys/kernel/ns_last_pid", std::to_string(subject.pid() - 1)));
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Trees, ZombiesWaitForTheirParents) {
  // value 0: how the child that had exited ended; 1: the killed one; asked for when value 2 is set from
  // outside
  Subject subject(
      [] {
        for (int how : {0, 1}) {
          const pid_t pid = ::fork();
          if (pid == 0) {
            if (how == 0) ::_exit(42);
            ::raise(SIGTERM);
          }
          board().value[3 + how] = static_cast<std::uint64_t>(pid);
          siginfo_t info = {};
          ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
        }
      },
      [] {
        if (::access("/proc/self/coredump_filter", F_OK) != 0 || board().value[2] == 0) return;
        for (int how : {0, 1}) {
          int status = -1;
          if (::waitpid(static_cast<pid_t>(board().value[3 + how].load()), &status, WNOHANG) > 0)
            board().value[how] = static_cast<std::uint64_t>(status);
        }
        board().value[2] = 0;
      });
  ASSERT_TRUE(carry(subject));
  const std::uint64_t yes = 1;
  const iovec local = {const_cast<std::uint64_t*>(&yes), sizeof yes},
              remote = {reinterpret_cast<void*>(kBoard + 24), 8};
  ASSERT_EQ(::process_vm_writev(subject.pid(), &local, 1, &remote, 1, 0), 8);
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 3) == 0; }));
  EXPECT_EQ(peek(subject.pid(), 1), 42U << 8U);
  EXPECT_EQ(peek(subject.pid(), 2), static_cast<std::uint64_t>(SIGTERM));
}

// It has no pagemap either. An upgrade of a tree with one in it was undone when memory was copied ahead.
TEST_F(Trees, AZombieHasNoMemoryToCopyAhead) {
  SKIP_WHERE_THE_MACHINE_CARRIES("it carries nothing");
  Subject subject([] {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(42);
    siginfo_t info = {};
    ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
  });
  auto set = collect({subject.pid()});
  ASSERT_OK(set);
  ASSERT_EQ(set->pids().size(), 2U);
  auto image = ImageWriter::create(folder_.path());
  ASSERT_OK(image);
  const auto pages = copy_ahead(*set, *image);
  ASSERT_OK(pages);
  if (!*pages) GTEST_SKIP() << "needs soft-dirty bits";
  EXPECT_TRUE(moves(subject.pid()));
}

// Kills whoever saves at random moments; the tree runs on, or is wholly saved and ended.
TEST_F(Trees, SavingIsKilledAtAnyMoment) {
  Subject subject;
  for (int round = 0; round < 30; ++round) {
    const auto folder = fmt::format("{}/{}", folder_.path(), round);
    auto saver = os::fork_child([&] {
      (void)save_trees({subject.pid()}, folder, true);
      return 0;
    });
    ASSERT_OK(saver);
    std::this_thread::sleep_for(std::chrono::microseconds(round * 700));
    ::kill(saver->pid, SIGKILL);
    ASSERT_TRUE(os::wait_child(*saver, std::chrono::seconds(20)));
    ASSERT_TRUE(moves(subject.pid())) << "round " << round;
  }
}

// Whoever restores is killed at random moments: there is nothing, or a tree that runs.
TEST_F(Trees, RestoringIsKilledAtAnyMoment) {
  Subject subject;
  ASSERT_OK(save_trees({subject.pid()}, images(), false));
  for (int round = 0; round < 20; ++round) {
    auto restorer = os::fork_child([&] {
      auto restored = restore_trees(images(), false);
      return restored ? 0 : 1;
    });
    ASSERT_OK(restorer);
    std::this_thread::sleep_for(std::chrono::microseconds(round * 1500));
    ::kill(restorer->pid, SIGKILL);
    auto ended = os::wait_child(*restorer, std::chrono::seconds(20));
    ASSERT_OK(ended);
    const bool there =
        eventually([&] { return ::waitpid(subject.pid(), nullptr, WNOHANG) < 0; }, std::chrono::seconds(1));
    if (!there) {  // adopted by the test, and running
      ASSERT_TRUE(moves(subject.pid())) << "round " << round;
      subject.end();
    } else {
      ASSERT_FALSE(subject.alive()) << "round " << round;
    }
  }
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Trees, PagesThatWereCutShortAreNoticed) {
  Subject subject;
  ASSERT_OK(save_trees({subject.pid()}, images(), false));
  ASSERT_EQ(::truncate((images() + "/pages").c_str(), 4096), 0);
  auto restored = restore_trees(images(), false);
  ASSERT_FALSE(restored);
  EXPECT_THAT(restored.error().message(), HasSubstr("where the manifest speaks of"));
  EXPECT_FALSE(subject.alive());
}

TEST_F(Trees, AManifestThatOthersCanWriteIsNotRead) {
  Subject subject;
  ASSERT_OK(save_trees({subject.pid()}, images(), false));
  ASSERT_EQ(::chmod((images() + "/manifest.json").c_str(), 0666), 0);
  auto restored = restore_trees(images(), false);
  ASSERT_FALSE(restored);
  EXPECT_THAT(restored.error().message(), HasSubstr("does not belong to root alone"));
}

}  // namespace
}  // namespace upkeep::engine
