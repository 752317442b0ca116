// In which system call a thread sleeps, as /proc says it.

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include "engine/inspect/calls/timed_wait.h"

namespace upkeep::engine {
namespace {

TEST(TimedWait, ReadsTheCall) {
  const auto call =
      parse_blocked_call("7 0x7ffc0010 0x1 0x3e8 0x4 0x5 0xffffffffffffffff 0x7ffd0020 0x7f1200000030\n");
  ASSERT_TRUE(call);
  EXPECT_EQ(call->number, SYS_poll);
  EXPECT_EQ(call->arguments, (std::array<std::uint64_t, 6>{0x7ffc0010, 1, 1000, 4, 5, ~0ULL}));
  EXPECT_EQ(call->stack_pointer, 0x7ffd0020U);
}

TEST(TimedWait, NothingWhereThereIsNoCall) {
  for (const char* text : {"running\n", "", "-1 0x7ffd0020 0x7f1200000030\n", "7", "7 0x1 0x2",
                           "7 0x1 0x2 0x3 0x4 0x5 0x6", "7 1 2 3 4 5 6 7 8"})
    EXPECT_FALSE(parse_blocked_call(text)) << text;
}

// restart_syscall(2) does not say what it goes on with; the function that the thread sleeps in does.
TEST(TimedWait, KnowsWhatIsGoneOnWith) {
  BlockedCall call;
  call.arguments[0] = 0x7ffc0010;
  EXPECT_EQ(restarted_call("do_sys_poll", call), SYS_poll);
  EXPECT_EQ(restarted_call("poll_schedule_timeout.constprop.0", call), SYS_poll);
  EXPECT_EQ(restarted_call("futex_wait_queue", call), SYS_futex);
  EXPECT_EQ(restarted_call("hrtimer_nanosleep", call), SYS_nanosleep);
  call.arguments[0] = 1;
  EXPECT_EQ(restarted_call("hrtimer_nanosleep", call), SYS_clock_nanosleep);
  EXPECT_FALSE(restarted_call("0", call));
  EXPECT_FALSE(restarted_call("", call));
}

}  // namespace
}  // namespace upkeep::engine
