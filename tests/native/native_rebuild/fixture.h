#pragma once
// Trees of the test's own, saved to a folder and made again on this machine's kernel; or carried to another
// one with the machine that the test runs in, and the test with them (lab/scenarios/kinds.py): the first time
// that a test carries what it has made, it waits for that instead.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "../engine/subject.h"
#include "engine/trees.h"

namespace upkeep::testing {

// The machine carries: $UPKEEP_TEST_CARRIED_BY is there, a folder for this process alone.
bool machine_carries();
// Of what is so only here, in SetUp() or a test.
#define SKIP_WHERE_THE_MACHINE_CARRIES(why) \
  if (::upkeep::testing::machine_carries()) GTEST_SKIP() << "not carried with a machine: " << (why)

class TreeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  // Where a tree is saved to. Ends a test that a machine is to carry, for it does its carrying itself.
  std::string images() const;

  // Saved, ended and made again: it counts on under its PID.
  ::testing::AssertionResult carry(const Subject& subject) { return carry({&subject}); }
  ::testing::AssertionResult carry(const std::vector<const Subject*>& subjects);
  ::testing::AssertionResult carry(const std::vector<pid_t>& roots);
  // Likewise, of those that do not count.
  ::testing::AssertionResult make_again(const std::vector<pid_t>& roots);
  // Whether those that were saved leave nothing, before long. Children whose parents have ended belong to the
  // test, as they would to PID 1.
  static bool are_gone(const std::vector<pid_t>& pids);
  // Whether whatever is carried next is carried with the machine.
  bool machine_is_next() const { return machine_carries() && !crossed_; }
  // Says that all is ready, and waits until it is told to go on, in another kernel.
  ::testing::AssertionResult cross_with_the_machine();
  Folder folder_{machine_carries() ? "/var/tmp" : "/tmp"};  // the latter is often the old kernel's memory
  upkeep::engine::NetworkHooks network_;                    // none: a tree with TCP connections is refused

 private:
  bool crossed_ = false;
};

inline std::uint64_t now_ns(clockid_t clock) {
  timespec now = {};
  ::clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

// In a subject: whether both descriptors lead to one file. A file that no path leads to has another number
// after it was carried, which may be between the two looks: so the first is looked at again.
inline bool lead_to_one_file(int first, int second) {
  struct stat before = {}, of_second = {}, after = {};
  return ::fstat(first, &before) == 0 && ::fstat(second, &of_second) == 0 && ::fstat(first, &after) == 0 &&
         (of_second.st_ino == before.st_ino || of_second.st_ino == after.st_ino);
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
