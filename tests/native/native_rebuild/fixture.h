#pragma once
// Trees of the test's own, saved to a folder and made again on this machine's kernel.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "../engine/subject.h"
#include "engine/native/trees.h"

namespace upkeep::testing {

class TreeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  std::string images() const { return folder_.path() + "/saved"; }

  // Saved, ended and made again: it counts on under its PID.
  ::testing::AssertionResult carry(const Subject& subject) { return carry({&subject}); }
  ::testing::AssertionResult carry(const std::vector<const Subject*>& subjects);
  ::testing::AssertionResult carry(const std::vector<pid_t>& roots);
  Folder folder_;
  upkeep::native::NetworkHooks network_;  // none: a tree with TCP connections is refused
};

#define ASSERT_OK(result) ASSERT_TRUE(result) << (result).error().message()

inline std::uint64_t now_ns(clockid_t clock) {
  timespec now = {};
  ::clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

// In a subject: the first CONDITION that does not hold leaves its line in value 7.
#define HOLDS(condition)                                          \
  do {                                                            \
    if (!(condition) && ::upkeep::testing::board().value[7] == 0) \
      ::upkeep::testing::board().value[7] = __LINE__;             \
  } while (0)
#define EXPECT_NO_COMPLAINT(subject) \
  EXPECT_EQ(peek((subject).pid(), 8), 0U) << "the subject complains at that line"

}  // namespace upkeep::testing
