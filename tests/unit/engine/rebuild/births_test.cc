// The calls that processes come into being by.

#include <gtest/gtest.h>

#include "engine/rebuild/task/births.h"
#include "engine/rebuild/task/job_stops.h"
#include "engine/rebuild/task/process_groups.h"
#include "engine/rebuild/task/stand_ins.h"

namespace upkeep::engine {
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
  EXPECT_EQ(compile_reap(9).describe(), "wait4(9, 0, 0, 0)\n");
}

// 20 is the first one of a PID namespace, 21 its child, 22 its sibling: those inside inherit what leads to
// the restorer.
TEST(BirthCalls, ThoseInAPidNamespaceAreMadeWithTheirIdsInIt) {
  auto snapshot = tree({process(10, 1, 10), process(20, 10, 10), process(22, 10, 10), process(21, 20, 10)});
  snapshot.processes[0].pid_namespace_for_children = 5;
  for (std::size_t i : {1U, 2U, 3U}) {
    auto& inside = snapshot.processes[i];
    inside.pid_namespace = 5;
    inside.inner_pids = {i == 1 ? 1 : static_cast<std::int32_t>(i + 5)};
    inside.inner_pgrps = inside.inner_sessions = {0};
  }
  const auto births = plan_births(snapshot);
  ASSERT_TRUE(births);
  EXPECT_EQ(compile_birth(std::get<Birth>(births->steps[0]), {77, {}}).describe(),
            "setsid()\npidfd_open(77, 0)\nclone3(data+16, 88)\nclose(0)\n"
            "pidfd_open(77, 0)\npidfd_open(20, 0)\nsetns(1, 0x20000000)\nclose(1)\nclone3(data+128, 88)\n"
            "pidfd_open(10, 0)\nsetns(1, 0x20000000)\nclose(1)\nclose(0)\n");
  EXPECT_EQ(compile_birth(std::get<Birth>(births->steps[1]), {77, {}}).describe(), "clone3(data+16, 88)\n");
  EXPECT_EQ(compile_group(snapshot.processes[1]).describe(), "");
  EXPECT_EQ(compile_wait_for_stop(snapshot.processes[1], snapshot.processes[3]).describe(),
            compile_wait_for_stop(snapshot.processes[0], process(8, 0, 0)).describe());
}

}  // namespace
}  // namespace upkeep::engine
