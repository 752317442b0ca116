#include "os/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace upkeep::os {
namespace {

constexpr std::size_t kCount = 200;

class MakeAndTake : public testing::TestWithParam<unsigned> {};

TEST_P(MakeAndTake, EachIsMadeOnceAndTakenInOrder) {
  std::vector<std::atomic<int>> made(kCount);
  std::vector<std::size_t> taken;
  const auto here = std::this_thread::get_id();
  auto done = make_and_take(
      kCount, GetParam(),
      [&](std::size_t i) {
        if (i % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
        ++made[i];
      },
      [&](std::size_t i) -> Result<void> {
        EXPECT_EQ(made[i], 1);
        EXPECT_EQ(std::this_thread::get_id(), here);
        taken.push_back(i);
        return {};
      });
  ASSERT_TRUE(done) << done.error().message();
  ASSERT_EQ(taken.size(), kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(taken[i], i);
    EXPECT_EQ(made[i], 1);
  }
}

TEST_P(MakeAndTake, AnErrorEndsIt) {
  std::atomic<std::size_t> made = 0;
  std::size_t taken = 0;
  auto done = make_and_take(
      kCount, GetParam(),
      [&](std::size_t) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ++made;
      },
      [&](std::size_t i) -> Result<void> {
        ++taken;
        if (i == 3) return Err("no more");
        return {};
      });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message(), "no more");
  EXPECT_EQ(taken, 4U);
  EXPECT_LT(made, kCount);
}

TEST_P(MakeAndTake, NothingIsNothing) {
  EXPECT_TRUE(make_and_take(
      0, GetParam(), [](std::size_t) { FAIL(); }, [](std::size_t) -> Result<void> { return Err("asked"); }));
}

INSTANTIATE_TEST_SUITE_P(Threads, MakeAndTake, testing::Values(1U, 2U, 4U));

TEST(ForEachParallel, TheFirstErrorWins) {
  std::atomic<int> calls = 0;
  const auto done = for_each_parallel(100, 3, [&](std::size_t i) -> Result<void> {
    ++calls;
    if (i == 5) return Err("the fifth");
    return {};
  });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message(), "the fifth");
  EXPECT_GE(calls, 1);
}

}  // namespace
}  // namespace upkeep::os
