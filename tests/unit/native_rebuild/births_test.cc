// Sessions cannot be given, only left: each process has to be made while its parent is in the right one.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/native/rebuild/compile.h"

namespace upkeep::native {
namespace {

using ::testing::HasSubstr;

Process process(std::int32_t pid, std::int32_t ppid, std::int32_t session) {
  Process result;
  result.pid = pid;
  result.ppid = ppid;
  result.pgrp = pid;
  result.session = session;
  result.exit_signal = 17;
  return result;
}

Snapshot tree(std::vector<Process> processes) {
  Snapshot snapshot;
  snapshot.processes = std::move(processes);
  return snapshot;
}

std::vector<std::int32_t> pids(const std::vector<const Process*>& children) {
  std::vector<std::int32_t> result;
  for (const auto* child : children) result.push_back(child->pid);
  return result;
}

TEST(Births, ChildrenOfASessionComeAfterIt) {
  auto snapshot = tree({process(10, 1, 10), process(11, 10, 10), process(12, 10, 12)});
  auto births = plan_births(snapshot);
  ASSERT_TRUE(births) << births.error().message();
  EXPECT_EQ(pids((*births)[0].after_setsid), (std::vector<std::int32_t>{11, 12}));
  EXPECT_TRUE((*births)[0].before_setsid.empty());
}

// 11 has made 12 and then a session of its own.
TEST(Births, ChildrenOfAnEarlierSessionComeBefore) {
  auto snapshot = tree({process(10, 1, 10), process(11, 10, 11), process(12, 11, 10), process(13, 11, 11)});
  auto births = plan_births(snapshot);
  ASSERT_TRUE(births) << births.error().message();
  EXPECT_EQ(pids((*births)[1].before_setsid), std::vector<std::int32_t>{12});
  EXPECT_EQ(pids((*births)[1].after_setsid), std::vector<std::int32_t>{13});
  const auto text = compile_birth((*births)[1]).describe();
  EXPECT_EQ(text, "clone3(data+16, 88)\nsetsid()\nclone3(data+128, 88)\n");
}

TEST(Births, AcrossAGeneration) {
  auto snapshot = tree({process(10, 1, 10), process(11, 10, 11), process(12, 11, 12), process(13, 12, 10)});
  auto births = plan_births(snapshot);
  ASSERT_TRUE(births) << births.error().message();
  EXPECT_EQ(pids((*births)[1].before_setsid), std::vector<std::int32_t>{12});
  EXPECT_EQ(pids((*births)[2].before_setsid), std::vector<std::int32_t>{13});
}

TEST(Births, WhatCannotHaveHappenedIsRefused) {
  auto error = [](std::vector<Process> processes) {
    const auto snapshot = tree(std::move(processes));
    auto births = plan_births(snapshot);
    return births ? "no error" : births.error().message();
  };
  EXPECT_THAT(error({process(10, 1, 9)}), HasSubstr("leader of session 9"));
  EXPECT_THAT(error({process(10, 1, 10), process(11, 10, 10), process(12, 11, 12), process(13, 11, 12)}),
              HasSubstr("never in"));
  EXPECT_THAT(error({process(10, 1, 10), process(11, 10, 11), process(12, 11, 10), process(13, 11, 8)}),
              HasSubstr("sessions"));
}

}  // namespace
}  // namespace upkeep::native
