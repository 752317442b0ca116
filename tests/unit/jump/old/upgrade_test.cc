// The upgrade as an operation: what of it is undone from a journal, and by whom.

#include "jump/old/upgrade.h"

#include <gmock/gmock.h>

#include "../../../test_directory.h"
#include "operation/undo.h"
#include "os/procfs.h"

namespace upkeep::jump {
namespace {

using testing::HasSubstr;

operation::Progress progress(std::vector<Event> events, const std::string& boot_id) {
  events.insert(events.begin(), {"upgrade_begun", "", "", {{"id", "1"}, {"boot_id", boot_id}}});
  return operation::progress_of(events);
}

TEST(Upgrade, AnAnnouncedJumpIsTheNextKernelsToUndo) {
  std::vector<Event> events = {{"stage_begun", "jump"}, {"fact", "jump", "", {{"jumping", true}}}};
  EXPECT_TRUE(upgrade().handed_over(progress(events, "another")));
  EXPECT_FALSE(upgrade().handed_over(progress(events, os::boot_id()))) << "it did not take place";
  events.push_back({"fact", "jump", "", {{"jumping", false}}});
  EXPECT_FALSE(upgrade().handed_over(progress(events, "another")));
}

TEST(Upgrade, UndoKnowsTheStagesOfBothKernels) {
  std::vector<std::string> names;
  for (const auto& stage : upgrade().stages_for_undo()) names.emplace_back(stage->name());
  EXPECT_THAT(names, testing::ElementsAre("check", "prepare", "stop", "precopy", "park", "snapshot", "jump",
                                          "land", "restore", "resume", "settle"));
}

TEST(Upgrade, APlanSaysWhatIsCarriedWhere) {
  operation::Plan plan;
  plan.request = {{"loads", {{"next", "7.3"}, {"crash", ""}}}, {"carry", {4, 5}}};
  const auto announced = upgrade().announced(plan);
  EXPECT_EQ(announced["to"], "7.3");
  EXPECT_EQ(announced["carry"], nlohmann::json({4, 5}));
  EXPECT_TRUE(upgrade().attempt(plan));
  plan.request = {{"kernel", "7.3"}};  // of an earlier version
  EXPECT_FALSE(upgrade().attempt(plan));
}

// The journal is one of a version that knew no other operation, and did not say in which boot a stage began.
TEST(Upgrade, NothingOfAnEarlierBootIsUndone) {
  const TestDirectory test;
  auto journal = operation::Journal::open(test.path(), "1");
  ASSERT_TRUE(journal);
  ASSERT_TRUE(journal->append({"upgrade_begun", "", "", {{"id", "1"}, {"boot_id", "another"}}}));
  ASSERT_TRUE(journal->append({"stage_begun", "prepare"}));
  ASSERT_TRUE(journal->append({"fact", "prepare", "", {{"work_folder", test.path()}}}));
  const operation::Operations operations = {&upgrade()};
  auto undone = operation::recover(test.path(), "1", operations, test / "run");
  ASSERT_TRUE(undone) << undone.error().message();
  EXPECT_TRUE(*undone);
  EXPECT_TRUE(test.has("1")) << "prepare's undo would have removed it";
  auto events = operation::read_journal(operation::journal_path(test.path(), "1"));
  EXPECT_EQ(events->back().kind, "upgrade_ended");
  EXPECT_EQ(events->back().data["outcome"], "undone");
  EXPECT_THAT(events->back().message, HasSubstr("restarted"));
  EXPECT_FALSE(operation::recover(test.path(), "1", operations, test / "run").value()) << "it has ended";
}

}  // namespace
}  // namespace upkeep::jump
