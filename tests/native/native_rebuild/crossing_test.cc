// Trees of another kernel. Where no machine is carried to one there is only one: after the snapshot the
// manifest is made to say that the vdso was a slightly different one, so that the very code that libc has
// looked its functions up in becomes another kernel's.

#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/time.h>
#include <ucontext.h>

#include <algorithm>
#include <limits>
#include <thread>

#include "fixture.h"
#include "os/vdso.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

class Crossing : public TreeTest {
 protected:
  // Ended here, and made again as if under another kernel. A byte of the image's that nobody reads is another
  // one each time.
  ::testing::AssertionResult cross(const Subject& subject, const std::function<void(Snapshot&)>& alter = {}) {
    if (!moves(subject.pid())) return ::testing::AssertionFailure() << "it did not run before";
    if (!alter && machine_is_next()) return carry(subject);
    auto removed = os::remove_tree(images());
    auto saved = save_trees({subject.pid()}, images(), false);
    if (!removed || !saved) return ::testing::AssertionFailure() << "snapshot: " << saved.error().message();
    if (!eventually([&] { return ::waitpid(subject.pid(), nullptr, WNOHANG) != 0; }))
      return ::testing::AssertionFailure() << "it did not end";
    const auto path = images() + "/manifest.json";
    auto snapshot = read_manifest(os::read_file(path).value_or(""));
    if (!snapshot) return ::testing::AssertionFailure() << snapshot.error().message();
    constexpr std::size_t kPadding = 9;  // of e_ident, elf(5)
    snapshot->vdso.data[kPadding] = ++times_;
    for (auto& process : snapshot->processes) process.memory.vdso_checksum = checksum(snapshot->vdso);
    if (alter) alter(*snapshot);
    if (!os::replace_file(path, write_manifest(*snapshot), 0600))
      return ::testing::AssertionFailure() << path;
    auto restored = restore_trees(images(), false);
    if (!restored) return ::testing::AssertionFailure() << "restore: " << restored.error().message();
    if (!moves(subject.pid())) return ::testing::AssertionFailure() << "it does not run afterwards";
    return ::testing::AssertionSuccess();
  }

 private:
  std::uint8_t times_ = 0;
};

std::uint64_t by_system_call(clockid_t clock) {
  timespec now = {};
  ::syscall(SYS_clock_gettime, clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

// As libc tells it, through addresses that it has looked up at its start.
void look_at_clocks() {
  for (clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI,
                          CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE}) {
    const auto before = by_system_call(clock), between = now_ns(clock), after = by_system_call(clock);
    HOLDS(before <= between && between <= after);
    timespec one = {}, other = {};
    HOLDS(::clock_getres(clock, &one) == 0 && ::syscall(SYS_clock_getres, clock, &other) == 0);
    HOLDS(one.tv_nsec == other.tv_nsec);
  }
  const auto before = static_cast<time_t>(by_system_call(CLOCK_REALTIME_COARSE) / 1'000'000'000);
  timeval day = {};
  ::gettimeofday(&day, nullptr);
  HOLDS(day.tv_sec - before <= 1 && day.tv_sec >= before);
  HOLDS(::time(nullptr) - before <= 1 && ::time(nullptr) >= before);
  HOLDS(::sched_getcpu() >= 0 && ::sched_getcpu() < 4096);
}

TEST_F(Crossing, ClocksAreRightFromEveryThread) {
  Subject subject(
      [] {
        for (int i = 0; i < 3; ++i)
          std::thread([] {
            for (;;) look_at_clocks(), ::usleep(200);
          }).detach();
      },
      look_at_clocks);
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(cross(subject)) << "round " << round;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ASSERT_EQ(peek(subject.pid(), 8), 0U) << "the subject complains at that line, in round " << round;
  }
  ASSERT_TRUE(carry(subject));  // the same kernel once more
  EXPECT_NO_COMPLAINT(subject);
}

// What a program has looked up itself, as Go's runtime does, is the first kernel's for ever.
TEST_F(Crossing, TheFirstVdsoStaysWhereItWas) {
  Subject subject;
  const auto pid = subject.pid();
  auto maps = [&] { return os::read_file(fmt::format("/proc/{}/maps", pid)).value_or(""); };
  const auto before = os::parse_vdso(maps());
  ASSERT_TRUE(before);
  ASSERT_TRUE(cross(subject));
  const auto after = os::parse_vdso(maps());
  ASSERT_TRUE(after);
  EXPECT_NE(after->code, before->code);
  EXPECT_THAT(maps(), HasSubstr(fmt::format("{:x}-{:x} r-xp", before->code, before->end)));
  ASSERT_TRUE(cross(subject));
  const auto last = os::parse_vdso(maps());
  ASSERT_TRUE(last);
  EXPECT_NE(last->code, after->code);
  EXPECT_THAT(maps(), HasSubstr(fmt::format("{:x}-{:x} r-xp", before->code, before->end)));
  EXPECT_THAT(maps(), HasSubstr(fmt::format("{:x}-{:x} r-xp", after->code, after->end)));
}

TEST_F(Crossing, AVdsoThatIsNotTheKernelsIsRefused) {
  Subject subject;
  auto crossed = cross(subject, [](Snapshot& snapshot) { snapshot.vdso.data.resize(4096); });
  EXPECT_FALSE(crossed);
  EXPECT_THAT(crossed.message(), HasSubstr("its vdso is not"));
}

// Threads that do nothing but read clocks are in the vdso nearly always.
TEST_F(Crossing, AThreadInsideOfItGoesOn) {
  Subject subject([] {
    std::thread([] {
      for (auto last = now_ns(CLOCK_MONOTONIC);;) {
        const auto now = now_ns(CLOCK_MONOTONIC);
        HOLDS(now >= last && now < last + 10'000'000'000);
        last = now;
        const auto seconds = ::time(nullptr);
        HOLDS(seconds > 1'000'000'000);
        board().value[0]++;
      }
    }).detach();
  });
  for (int round = 0; round < 10; ++round) {
    ASSERT_TRUE(cross(subject));
    const auto count = peek(subject.pid(), 1);
    ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 1) > count; })) << "round " << round;
  }
  EXPECT_NO_COMPLAINT(subject);
}

// A signal handler that returns into the old code, in the middle of a function.
TEST_F(Crossing, ASignalFrameInsideOfItReturns) {
  // value 0: 1 once a handler waits that has interrupted the vdso; 1: set from outside, lets it go on
  static std::uint64_t code = 0, end = 0;
  // With a machine it waits in its handler for the other tests too.
  static const std::uint64_t longest = (machine_carries() ? 3600 : 60) * 1'000'000'000ULL;
  Subject subject([] {
    const auto vdso = os::own_vdso().value().value();
    code = vdso.code, end = vdso.end;
    std::thread([] {
      struct sigaction action = {};
      action.sa_sigaction = [](int, siginfo_t*, void* context) {
        const auto rip =
            static_cast<std::uint64_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
        const auto image = std::span(reinterpret_cast<const std::byte*>(code), end - code);
        const auto functions = os::vdso_functions(image).value();
        const bool inside = std::ranges::any_of(functions, [&](const auto& f) {
          return rip > code + f.offset + 64 && rip < code + f.offset + f.size;
        });
        if (!inside || board().value[0] != 0) return;
        board().value[0] = 1;
        while (board().value[1] == 0)
          ;
        board().value[0] = 2;
      };
      action.sa_flags = SA_SIGINFO;
      ::sigaction(SIGALRM, &action, nullptr);
      sigset_t alarm;
      sigemptyset(&alarm);
      sigaddset(&alarm, SIGALRM);
      ::pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);
      const itimerval often = {{0, 500}, {0, 500}};
      ::setitimer(ITIMER_REAL, &often, nullptr);
      for (auto last = now_ns(CLOCK_MONOTONIC);;) {
        const auto now = now_ns(CLOCK_MONOTONIC);
        HOLDS(now >= last && now < last + longest);
        last = now;
        if (board().value[0] == 2) board().value[2]++;
      }
    }).detach();
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    ::pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
  });
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 1) == 1; })) << "no signal came in the vdso";
  ASSERT_TRUE(cross(subject));
  ASSERT_EQ(peek(subject.pid(), 1), 1U);
  const std::uint64_t yes = 1;
  const iovec local = {const_cast<std::uint64_t*>(&yes), sizeof yes},
              remote = {reinterpret_cast<void*>(kBoard + 16), 8};
  ASSERT_EQ(::process_vm_writev(subject.pid(), &local, 1, &remote, 1, 0), 8);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 3) > 100; })) << "it does not come back";
  EXPECT_NO_COMPLAINT(subject);
}

}  // namespace
}  // namespace upkeep::engine
