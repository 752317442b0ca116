// Time namespaces of the tasks' own, beside the one in which everything lives that was made again.

#include <sched.h>

#include "fixture.h"
#include "os/procfs.h"
#include "os/time_namespace.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

using TimeNamespaces = TreeTest;

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kHundredDays = 100ULL * 86400 * kSecond;

void must(bool holds) {
  if (!holds) ::_exit(1);
}

// As unshare(1) does with --time --monotonic --boottime.
void unshare_time(std::int64_t monotonic, std::int64_t boottime) {
  must(::unshare(CLONE_NEWTIME) == 0);
  must(static_cast<bool>(
      os::write_value("/proc/self/timens_offsets", os::clock_offsets_text({monotonic, boottime}))));
}

// A child of BODY's that counts on its own board; its parent goes on.
pid_t child_that_counts(const std::function<void()>& begin, const std::function<void()>& step) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  begin();
  for (;; ::poll(nullptr, 0, 1)) {
    step();
    board().counter++;
  }
}

// Value 2: what the clock said last; it never goes back, and never jumps by minutes.
void look_at_clocks() {
  const auto now = now_ns(CLOCK_MONOTONIC), last = board().value[1].load();
  HOLDS(last == 0 || (now >= last && now - last < 60 * kSecond));
  board().value[1] = now;
}

std::uint64_t ahead_of_us(pid_t pid) { return peek(pid, 2) - now_ns(CLOCK_MONOTONIC); }

TEST_F(TimeNamespaces, OfAChild) {
  std::uint64_t before = now_ns(CLOCK_MONOTONIC);
  Subject subject(
      [&] {
        unshare_time(static_cast<std::int64_t>(kHundredDays), 5 * static_cast<std::int64_t>(kSecond));
        board().value[2] = static_cast<std::uint64_t>(
            child_that_counts([&] { board().value[3] = now_ns(CLOCK_BOOTTIME) - now_ns(CLOCK_MONOTONIC); },
                              [&] {
                                look_at_clocks();
                                HOLDS(now_ns(CLOCK_MONOTONIC) > kHundredDays + before);
                                HOLDS(now_ns(CLOCK_BOOTTIME) < kHundredDays);
                              }));
      },
      look_at_clocks);
  const auto child = static_cast<pid_t>(peek(subject.pid(), 3));
  ASSERT_TRUE(moves(child));
  for (int carries = 0; carries < 3; ++carries) {
    ASSERT_TRUE(carry(subject));
    ASSERT_TRUE(moves(child));
    const auto time = os::namespace_id(subject.pid(), "time"), childs = os::namespace_id(child, "time");
    ASSERT_TRUE(time && childs);
    EXPECT_NE(*time, *childs);
    EXPECT_EQ(os::namespace_id(subject.pid(), "time_for_children").value_or(0), *childs);
    EXPECT_EQ(os::namespace_id(child, "time_for_children").value_or(0), *childs);
  }
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_EQ(peek(child, 8), 0U) << "the child complains at that line";
  const auto ahead = ahead_of_us(child);
  EXPECT_LT(ahead, kHundredDays + 60 * kSecond);
  EXPECT_GT(ahead + 60 * kSecond, kHundredDays);
  ::kill(child, SIGKILL);
}

// Nobody has been born into it: its offsets can still be said.
TEST_F(TimeNamespaces, OfChildrenThatAreStillToCome) {
  Subject subject(
      [] {
        unshare_time(static_cast<std::int64_t>(kHundredDays), 0);
        std::thread([] {
          for (;; ::poll(nullptr, 0, 1)) board().value[2]++;
        }).detach();
      },
      [] {
        if (board().value[3] != 1) return;
        board().value[3] = 2;
        int status = -1;
        const pid_t child = ::fork();
        if (child == 0) ::_exit(now_ns(CLOCK_MONOTONIC) > kHundredDays ? 0 : 1);
        HOLDS(::waitpid(child, &status, 0) == child && status == 0);
        HOLDS(now_ns(CLOCK_MONOTONIC) < kHundredDays);
        board().value[3] = 3;
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(poke(subject.pid(), 4, 1));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 4) == 3; }));
  EXPECT_NO_COMPLAINT(subject);
}

// Two trees in one, and a third one outside of it.
TEST_F(TimeNamespaces, ThatSeveralTreesHaveInCommon) {
  os::UniqueFd common;
  std::vector<std::unique_ptr<Subject>> subjects;
  subjects.push_back(std::make_unique<Subject>([] {}, look_at_clocks));
  subjects.push_back(std::make_unique<Subject>(
      [] {
        unshare_time(-1, static_cast<std::int64_t>(kHundredDays));
        auto own = os::open_file("/proc/self/ns/time_for_children", O_RDONLY);
        must(own && ::setns(own->get(), CLONE_NEWTIME) == 0);
        ::close(own->release());
      },
      [] { HOLDS(now_ns(CLOCK_BOOTTIME) > kHundredDays); }));
  const auto first = subjects.back()->pid();
  subjects.push_back(std::make_unique<Subject>(
      [first] {
        auto its = os::open_file(fmt::format("/proc/{}/ns/time", first), O_RDONLY);
        must(its && ::setns(its->get(), CLONE_NEWTIME) == 0);
        ::close(its->release());
      },
      [] { HOLDS(now_ns(CLOCK_BOOTTIME) > kHundredDays); }));
  std::vector<const Subject*> all;
  for (const auto& subject : subjects) all.push_back(subject.get());
  for (int carries = 0; carries < 2; ++carries) {
    ASSERT_TRUE(carry(all));
    EXPECT_EQ(os::namespace_id(all[1]->pid(), "time").value_or(0),
              os::namespace_id(all[2]->pid(), "time").value_or(1));
    EXPECT_NE(os::namespace_id(all[0]->pid(), "time").value_or(0),
              os::namespace_id(all[1]->pid(), "time").value_or(0));
  }
  for (const auto* subject : all) EXPECT_NO_COMPLAINT(*subject);
}

// A timer, and a call that waits for a point in time, keep to the clocks of the namespace.
TEST_F(TimeNamespaces, WaitsInThem) {
  Subject subject([] {
    unshare_time(static_cast<std::int64_t>(kHundredDays), 0);
    board().value[2] = static_cast<std::uint64_t>(child_that_counts(
        [] {
          timespec end = {};
          ::clock_gettime(CLOCK_MONOTONIC, &end);
          end.tv_sec += 3;
          std::thread([end] {
            HOLDS(::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr) == 0);
            const auto late = now_ns(CLOCK_MONOTONIC) - static_cast<std::uint64_t>(end.tv_sec) * kSecond -
                              static_cast<std::uint64_t>(end.tv_nsec);
            board().value[1] = late + 1;
          }).detach();
        },
        [] {}));
  });
  const auto child = static_cast<pid_t>(peek(subject.pid(), 3));
  ASSERT_TRUE(moves(child));
  ASSERT_TRUE(carry(subject));
  EXPECT_TRUE(eventually([&] { return peek(child, 2) != 0; }));
  EXPECT_LT(peek(child, 2), 2 * kSecond);
  EXPECT_EQ(peek(child, 8), 0U) << "the child complains at that line";
  ::kill(child, SIGKILL);
}

}  // namespace
}  // namespace upkeep::engine
