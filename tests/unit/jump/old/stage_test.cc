// The orchestrator: order of applying and undoing, and undo from a journal that another process left.

#include "jump/old/stage.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "jump/old/run.h"
#include "jump/old/undo.h"
#include "os/file.h"

namespace upkeep::jump {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Script {
  std::vector<std::string> calls;
  std::string failing_apply, failing_undo;
};

class ScriptedStage final : public Stage {
 public:
  ScriptedStage(std::string name, Script& script) : name_(std::move(name)), script_(script) {}
  std::string_view name() const override { return name_; }
  Result<void> apply(Run& run) override {
    script_.calls.push_back("apply " + name_);
    run.fact({{"about", name_}});
    if (script_.failing_apply == name_) return Err("no luck");
    return {};
  }
  Result<void> undo(const UndoContext& context) override {
    script_.calls.push_back("undo " + name_ + " " + context.facts.value("about", "?"));
    if (script_.failing_undo == name_) return Err("stuck");
    return {};
  }

 private:
  std::string name_;
  Script& script_;
};

class StageTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / "upkeep-stage-XXXXXX";
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    plan_.state_dir = folder_;
    plan_.id = "1";
    auto journal = operation::Journal::open(folder_, "1");
    ASSERT_TRUE(journal);
    journal_.emplace(std::move(*journal));
    for (const char* name : {"a", "b", "c"})
      stages_.push_back(std::make_unique<ScriptedStage>(name, script_));
  }
  void TearDown() override { (void)os::remove_tree(folder_); }

  operation::Progress progress() {
    return operation::progress_of(*operation::read_journal(operation::journal_path(folder_, "1")));
  }
  EventSink sink() {
    return [this](const Event& event) { (void)journal_->append(event); };
  }

  std::string folder_;
  Plan plan_;
  std::optional<operation::Journal> journal_;
  Script script_;
  Stages stages_;
};

TEST_F(StageTest, AppliesInOrderAndStopsAtTheFirstFailure) {
  script_.failing_apply = "b";
  jump::Run run(plan_, *journal_, os::UniqueFd());
  auto applied = apply_stages(stages_, run);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().message(), "b: no luck");
  EXPECT_THAT(script_.calls, ElementsAre("apply a", "apply b"));
  EXPECT_THAT(progress().begun, ElementsAre("a", "b"));
}

TEST_F(StageTest, UndoesBackwardsWithTheFactsOfTheJournal) {
  jump::Run run(plan_, *journal_, os::UniqueFd());
  ASSERT_TRUE(apply_stages(stages_, run));
  script_.calls.clear();
  EXPECT_TRUE(undo_stages(stages_, progress(), sink()));
  EXPECT_THAT(script_.calls, ElementsAre("undo c c", "undo b b", "undo a a"));
  EXPECT_TRUE(progress().begun.empty());
}

TEST_F(StageTest, OneUndoThatFailsDoesNotKeepTheOthersFromTheirs) {
  jump::Run run(plan_, *journal_, os::UniqueFd());
  ASSERT_TRUE(apply_stages(stages_, run));
  script_.calls.clear();
  script_.failing_undo = "b";
  EXPECT_FALSE(undo_stages(stages_, progress(), sink()));
  EXPECT_THAT(script_.calls, ElementsAre("undo c c", "undo b b", "undo a a"));
  EXPECT_THAT(progress().begun, ElementsAre("b")) << "what failed is tried again by the next one";
}

TEST_F(StageTest, AnUndoThatWasInterruptedGoesOnWhereItWas) {
  jump::Run run(plan_, *journal_, os::UniqueFd());
  ASSERT_TRUE(apply_stages(stages_, run));
  ASSERT_TRUE(journal_->append({"undo_begun", "c"}));
  ASSERT_TRUE(journal_->append({"undo_done", "c"}));
  ASSERT_TRUE(journal_->append({"undo_begun", "b"}));  // killed here
  script_.calls.clear();
  EXPECT_TRUE(undo_stages(stages_, progress(), sink()));
  EXPECT_THAT(script_.calls, ElementsAre("undo b b", "undo a a"));
}

TEST_F(StageTest, AStageEndsBeforeTheNextBegins) {
  stages_.pop_back();
  jump::Run run(plan_, *journal_, os::UniqueFd());
  ASSERT_TRUE(apply_stages(stages_, run));
  auto events = operation::read_journal(operation::journal_path(folder_, "1"));
  std::vector<std::string> kinds;
  for (const auto& event : *events) {
    if (event.kind != "fact") kinds.push_back(event.kind + " " + event.stage);
  }
  EXPECT_THAT(kinds, ElementsAre("stage_begun a", "stage_done a", "stage_begun b", "stage_done b"));
}

TEST_F(StageTest, NothingOfAnEarlierBootIsUndone) {
  ASSERT_TRUE(journal_->append({"upgrade_begun", "", "", {{"id", "1"}, {"boot_id", "another"}}}));
  ASSERT_TRUE(journal_->append({"stage_begun", "prepare"}));
  ASSERT_TRUE(journal_->append({"fact", "prepare", "", {{"work_folder", folder_}}}));
  auto undone = undo_from_journal(*journal_, folder_, "1", "killed", false);
  ASSERT_TRUE(undone) << undone.error().message();
  EXPECT_TRUE(*undone);
  EXPECT_TRUE(os::exists(folder_)) << "prepare's undo would have removed it";
  auto events = operation::read_journal(operation::journal_path(folder_, "1"));
  EXPECT_EQ(events->back().kind, "upgrade_ended");
  EXPECT_THAT(events->back().message, HasSubstr("restarted"));
  EXPECT_FALSE(undo_from_journal(*journal_, folder_, "1", "killed", false).value()) << "it has ended";
}

}  // namespace
}  // namespace upkeep::jump
