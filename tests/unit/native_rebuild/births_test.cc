// The calls that processes come into being by.

#include <gtest/gtest.h>

#include "engine/native/rebuild/compile.h"

namespace upkeep::native {
namespace {

Process process(std::int32_t pid, std::int32_t ppid, std::int32_t session) {
  Process result;
  result.pid = pid;
  result.ppid = ppid;
  result.pgrp = result.session = session;
  result.exit_signal = 17;
  return result;
}

Snapshot tree(std::vector<Process> processes) {
  Snapshot snapshot;
  snapshot.processes = std::move(processes);
  return snapshot;
}

TEST(BirthCalls, ChildrenOfAnEarlierSessionComeBefore) {
  const auto snapshot =
      tree({process(10, 1, 10), process(11, 10, 11), process(12, 11, 10), process(13, 11, 11)});
  const auto births = plan_births(snapshot);
  ASSERT_TRUE(births);
  EXPECT_EQ(compile_birth(std::get<Birth>(births->steps[1])).describe(),
            "clone3(data+16, 88)\nsetsid()\nclone3(data+128, 88)\n");
}

TEST(BirthCalls, AStandInLeadsItsSessionAndMakesWhoBelongsToIt) {
  const auto snapshot = tree({process(10, 1, 9), process(11, 1, 9), process(12, 1, 12)});
  const auto births = plan_births(snapshot);
  ASSERT_TRUE(births);
  const auto& stand_in = std::get<StandIn>(births->steps[0]);
  EXPECT_EQ(compile_stand_in(stand_in).describe(), "setsid()\nclone3(data+16, 88)\nclone3(data+128, 88)\n");
  // The helper makes the stand-in and the third root.
  EXPECT_EQ(compile_roots(*births, "", snapshot).describe(),
            "close_range(0, 0xffffffff, 0)\nclone3(data+16, 88)\nclone3(data+128, 88)\nexit_group(0)\n");
  EXPECT_EQ(compile_farewell(9).describe(), "wait4(9, 0, 0, 0)\n");
}

}  // namespace
}  // namespace upkeep::native
