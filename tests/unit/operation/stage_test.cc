// The orchestrator: order of applying and undoing, and undo from a journal that another process left.

#include "operation/stage.h"

#include <gmock/gmock.h>

#include "../../test_directory.h"
#include "os/procfs.h"

namespace upkeep::operation {
namespace {

using testing::ElementsAre;

struct Script {
  std::vector<std::string> calls;
  std::string failing_apply, failing_undo, concludes;
};

class ScriptedStage final : public Stage {
 public:
  ScriptedStage(std::string name, Script& script) : name_(std::move(name)), script_(script) {}
  std::string_view name() const override { return name_; }
  Result<void> apply(Context& context) override {
    script_.calls.push_back("apply " + name_);
    context.conclude(script_.concludes);
    context.fact({{"about", name_}});
    if (script_.failing_apply == name_) return Err("no luck");
    return {};
  }
  Result<void> undo(const UndoContext& context) override {
    script_.calls.push_back("undo " + name_ + " " + context.facts.value("about", "?"));
    if (script_.failing_undo == name_) return Err("stuck");
    return {};
  }
  Result<void> undo_after_boot(const UndoContext&) override {
    script_.calls.push_back("after a boot " + name_);
    return {};
  }

 private:
  std::string name_;
  Script& script_;
};

class StageTest : public testing::Test {
 protected:
  void SetUp() override {
    auto journal = Journal::open(directory_, "1");
    ASSERT_TRUE(journal);
    journal_.emplace(std::move(*journal));
    for (const char* name : {"a", "b", "c"})
      stages_.push_back(std::make_unique<ScriptedStage>(name, script_));
  }
  Progress progress() { return progress_of(*read_journal(journal_path(directory_, "1"))); }
  Context context() { return Context(record_in(*journal_)); }
  EventSink sink() {
    return [this](const Event& event) { (void)journal_->append(event); };
  }

  TestDirectory test_;
  const std::string& directory_ = test_.path();
  std::optional<Journal> journal_;
  Script script_;
  Stages stages_;
};

TEST_F(StageTest, AppliesInOrderAndStopsAtTheFirstFailure) {
  script_.failing_apply = "b";
  auto context = this->context();
  auto applied = apply_stages(stages_, context);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().message(), "b: no luck");
  EXPECT_THAT(script_.calls, ElementsAre("apply a", "apply b"));
  EXPECT_THAT(progress().begun, ElementsAre("a", "b"));
}

TEST_F(StageTest, UndoesBackwardsWithTheFactsOfTheJournal) {
  auto context = this->context();
  ASSERT_TRUE(apply_stages(stages_, context));
  script_.calls.clear();
  EXPECT_TRUE(undo_stages(stages_, progress(), os::boot_id(), sink()));
  EXPECT_THAT(script_.calls, ElementsAre("undo c c", "undo b b", "undo a a"));
  EXPECT_TRUE(progress().begun.empty());
}

TEST_F(StageTest, OneUndoThatFailsDoesNotKeepTheOthersFromTheirs) {
  auto context = this->context();
  ASSERT_TRUE(apply_stages(stages_, context));
  script_.calls.clear();
  script_.failing_undo = "b";
  EXPECT_FALSE(undo_stages(stages_, progress(), os::boot_id(), sink()));
  EXPECT_THAT(script_.calls, ElementsAre("undo c c", "undo b b", "undo a a"));
  EXPECT_THAT(progress().begun, ElementsAre("b")) << "what failed is tried again by the next one";
}

TEST_F(StageTest, AnUndoThatWasInterruptedGoesOnWhereItWas) {
  auto context = this->context();
  ASSERT_TRUE(apply_stages(stages_, context));
  ASSERT_TRUE(journal_->append({"undo_begun", "c"}));
  ASSERT_TRUE(journal_->append({"undo_done", "c"}));
  ASSERT_TRUE(journal_->append({"undo_begun", "b"}));  // killed here
  script_.calls.clear();
  EXPECT_TRUE(undo_stages(stages_, progress(), os::boot_id(), sink()));
  EXPECT_THAT(script_.calls, ElementsAre("undo b b", "undo a a"));
}

TEST_F(StageTest, AStageEndsBeforeTheNextBegins) {
  stages_.pop_back();
  auto context = this->context();
  ASSERT_TRUE(apply_stages(stages_, context));
  auto events = read_journal(journal_path(directory_, "1"));
  std::vector<std::string> kinds;
  for (const auto& event : *events) {
    if (event.kind != "fact") kinds.push_back(event.kind + " " + event.stage);
  }
  EXPECT_THAT(kinds, ElementsAre("stage_begun a", "stage_done a", "stage_begun b", "stage_done b"));
}

TEST_F(StageTest, AStageThatBeganEarlierIsNotEnteredTwice) {
  stages_.pop_back();
  auto context = this->context();
  context.enter("a", 1'700'000'000'000'000'000);
  ASSERT_TRUE(apply_stages(stages_, context));
  const auto events = read_journal(journal_path(directory_, "1"));
  std::vector<std::string> kinds;
  for (const auto& event : *events) {
    if (event.kind != "fact") kinds.push_back(event.kind + " " + event.stage);
  }
  EXPECT_THAT(kinds, ElementsAre("stage_begun a", "stage_done a", "stage_begun b", "stage_done b"));
  EXPECT_EQ(events->front().time_ns, 1'700'000'000'000'000'000);
}

TEST_F(StageTest, EachStageSaysInWhichBootItBegan) {
  auto context = this->context();
  ASSERT_TRUE(apply_stages(stages_, context));
  EXPECT_EQ(progress().boot_of("b"), os::boot_id());
  script_.calls.clear();
  EXPECT_TRUE(undo_stages(stages_, progress(), "another", sink()));
  EXPECT_THAT(script_.calls, ElementsAre("after a boot c", "after a boot b", "after a boot a"));
}

TEST_F(StageTest, WhatAStageConcludesIsInItsLastEvent) {
  script_.concludes = "12 tasks run";
  auto context = this->context();
  ASSERT_TRUE(apply_stages(stages_, context));
  EXPECT_EQ(read_journal(journal_path(directory_, "1"))->back().message, "12 tasks run");
}

}  // namespace
}  // namespace upkeep::operation
