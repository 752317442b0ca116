#include "fixture.h"

#include <algorithm>

namespace upkeep::testing {

::testing::AssertionResult TreeTest::carry(const std::vector<const Subject*>& subjects) {
  std::vector<pid_t> roots;
  for (const auto* subject : subjects) roots.push_back(subject->pid());
  return carry(roots);
}

::testing::AssertionResult TreeTest::carry(const std::vector<pid_t>& roots) {
  auto all_move = [&] { return std::all_of(roots.begin(), roots.end(), moves); };
  if (!all_move()) return ::testing::AssertionFailure() << "it did not run before";
  auto removed = os::remove_tree(images());
  auto saved = native::save_trees(roots, images(), false, network_);
  if (!removed || !saved) return ::testing::AssertionFailure() << "snapshot: " << saved.error().message();
  // Children whose parents have ended belong to the test, as they would to PID 1.
  const bool gone = eventually([&] {
    for (pid_t pid : saved->pids) ::waitpid(pid, nullptr, WNOHANG);
    return std::all_of(saved->pids.begin(), saved->pids.end(), [](pid_t pid) { return ::kill(pid, 0) < 0; });
  });
  if (!gone) return ::testing::AssertionFailure() << "it did not end";
  auto restored = native::restore_trees(images(), false, network_);
  if (!restored) return ::testing::AssertionFailure() << "restore: " << restored.error().message();
  if (!all_move()) return ::testing::AssertionFailure() << "it does not run afterwards";
  return ::testing::AssertionSuccess();
}

}  // namespace upkeep::testing
