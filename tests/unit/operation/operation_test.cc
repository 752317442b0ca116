// An operation of the test's own, which knows nothing of kernels, through everything that this room has: the
// worker with its two processes, the runner, the journal, undo after a failure, and recovery.

#include "operation/operation.h"

#include <gmock/gmock.h>
#include <signal.h>

#include "../../test_directory.h"
#include "operation/undo.h"
#include "operation/worker.h"
#include "os/child.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::operation {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What both stages share while they are applied.
struct Swap {
  std::string directory;
  std::string how;  // "fails", "is killed"
  int applied = 0;
};

std::string file_of(const nlohmann::json& facts) { return facts.value("file", "/nonexistent"); }

class MakeStage final : public Stage {
 public:
  explicit MakeStage(Swap* swap) : swap_(swap) {}
  std::string_view name() const override { return "make"; }
  Result<void> apply(Context& context) override {
    const std::string file = swap_->directory + "/made";
    context.fact({{"file", file}});
    ++swap_->applied;
    return os::replace_file(file, "made");
  }
  Result<void> undo(const UndoContext& context) override { return os::remove_tree(file_of(context.facts)); }
  Result<void> undo_after_boot(const UndoContext& context) override {
    context.emit({"warning", "make", "after a boot"});
    return undo(context);  // a file outlives the boot
  }

 private:
  Swap* swap_;
};

class UseStage final : public Stage {
 public:
  explicit UseStage(Swap* swap) : swap_(swap) {}
  std::string_view name() const override { return "use"; }
  Result<void> apply(Context& context) override {
    context.fact({{"file", swap_->directory + "/used"}});
    TRY(os::replace_file(swap_->directory + "/used", std::to_string(swap_->applied)));
    if (swap_->how == "fails") return Err("no luck");
    if (swap_->how == "is killed") ::raise(SIGKILL);
    if (swap_->how == "waits") {
      context.start_deadline();
      for (;;) ::pause();
    }
    return {};
  }
  Result<void> undo(const UndoContext& context) override { return os::remove_tree(file_of(context.facts)); }

 private:
  Swap* swap_;
};

class SwapAttempt final : public Attempt {
 public:
  explicit SwapAttempt(Swap swap) : swap_(std::move(swap)) {}
  Stages stages() override {
    Stages stages;
    stages.push_back(std::make_unique<MakeStage>(&swap_));
    stages.push_back(std::make_unique<UseStage>(&swap_));
    return stages;
  }
  void let_go() override { (void)os::replace_file(swap_.directory + "/let-go", ""); }

 private:
  Swap swap_;
};

class SwapOperation final : public Operation {
 public:
  std::string_view kind() const override { return "swap"; }
  Result<std::unique_ptr<Attempt>> attempt(const Plan& plan) const override {
    return std::make_unique<SwapAttempt>(
        Swap{plan.request.at("directory").get<std::string>(), plan.request.at("how").get<std::string>()});
  }
  Stages stages_for_undo() const override {
    Stages stages;
    stages.push_back(std::make_unique<MakeStage>(nullptr));
    stages.push_back(std::make_unique<UseStage>(nullptr));
    return stages;
  }
  nlohmann::json announced(const Plan&) const override { return {{"module", "test"}}; }
};

class OperationTest : public testing::Test {
 protected:
  // Its exit code. The supervisor blocks signals: in a process of its own.
  int run(const std::string& how, bool dry_run = false, double deadline_s = 60) {
    const Plan plan{"1", directory_, "swap", dry_run, deadline_s, {{"directory", directory_}, {"how", how}}};
    auto worker = os::fork_child([&] { return run_worker(plan, operations(), run_directory()); });
    if (!worker) return -1;
    auto status = os::wait_child(*worker, std::chrono::seconds(30));
    return status ? status->code().value_or(-1) : -1;
  }
  Operations operations() const { return {&operation_}; }
  std::string run_directory() const { return directory_ + "/run"; }
  bool has(const std::string& name) const { return test_.has(name); }
  std::vector<Event> events() const { return read_journal(journal_path(directory_, "1")).value(); }
  std::vector<std::string> story() const {
    std::vector<std::string> kinds;
    for (const auto& event : events()) {
      if (event.stage.empty() || event.kind == "fact") continue;
      kinds.push_back(event.kind + " " + event.stage +
                      (event.direction.empty() ? "" : ", " + event.direction));
    }
    return kinds;
  }
  void append(const std::vector<Event>& written) {
    auto journal = Journal::open(directory_, "1");
    ASSERT_TRUE(journal);
    for (const auto& event : written) ASSERT_TRUE(journal->append(event));
  }
  // As a worker leaves it that was killed after its first stage.
  void leave_half_done(const std::string& boot_id, const std::string& kind = "swap") {
    ASSERT_TRUE(os::replace_file(directory_ + "/made", "made"));
    append({{"upgrade_begun", "", "", {{"id", "1"}, {"kind", kind}, {"boot_id", boot_id}}},
            {"stage_begun", "make", "", {{"boot_id", boot_id}}},
            {"fact", "make", "", {{"file", directory_ + "/made"}}},
            {"stage_done", "make"},
            {"stage_begun", "use", "", {{"boot_id", boot_id}}}});
  }

  TestDirectory test_;
  const std::string& directory_ = test_.path();
  SwapOperation operation_;
};

TEST_F(OperationTest, AFailureLeadsBackByTheJournal) {
  EXPECT_EQ(run("fails"), 1);
  EXPECT_THAT(story(), ElementsAre("stage_begun make", "stage_done make", "stage_begun use",
                                   "stage_failed use", "undo_begun use, undo", "undo_done use, undo",
                                   "undo_begun make, undo", "undo_done make, undo"));
  EXPECT_FALSE(has("made"));
  EXPECT_FALSE(has("used"));
  EXPECT_TRUE(has("let-go"));
  const auto first = events().front(), last = events().back();
  EXPECT_EQ(first.data["kind"], "swap");
  EXPECT_EQ(first.data["module"], "test");
  EXPECT_EQ(last.kind, "upgrade_ended");
  EXPECT_EQ(last.message, "use: no luck");
  EXPECT_EQ(last.data["outcome"], "undone");
  EXPECT_TRUE(recover_all(directory_, operations(), run_directory())->empty()) << "it has ended";
}

TEST_F(OperationTest, ADoerThatIsKilledIsUndoneByItsSupervisor) {
  EXPECT_EQ(run("is killed"), 1);
  EXPECT_FALSE(has("made"));
  EXPECT_FALSE(has("used"));
  EXPECT_FALSE(has("let-go")) << "a killed process lets go of nothing";
  EXPECT_THAT(events().back().message, HasSubstr("the worker was killed"));
}

TEST_F(OperationTest, ADeadlineThatAStageHasStartedEndsIt) {
  EXPECT_EQ(run("waits", false, 0.1), 1);
  EXPECT_FALSE(has("made"));
  EXPECT_THAT(events().back().message, HasSubstr("deadline of 0.1 s"));
}

TEST_F(OperationTest, ADryRunIsUndoneToo) {
  EXPECT_EQ(run("works", true), 0);
  EXPECT_FALSE(has("made"));
  EXPECT_EQ(events().back().data["outcome"], "dry_run");
  EXPECT_EQ(events().back().message, "dry run: everything was undone");
}

TEST_F(OperationTest, RecoveryUndoesWhatAKilledWorkerLeft) {
  leave_half_done(os::boot_id());
  EXPECT_THAT(recover_all(directory_, operations(), run_directory()).value(), ElementsAre("1"));
  EXPECT_FALSE(has("made"));
  EXPECT_EQ(events().back().data["outcome"], "undone");
  EXPECT_THAT(recover_all(directory_, operations(), run_directory()).value(), IsEmpty());
}

TEST_F(OperationTest, AfterAnotherBootEachStageSaysWhatIsLeft) {
  leave_half_done("another");
  EXPECT_TRUE(recover(directory_, "1", operations(), run_directory()).value());
  EXPECT_FALSE(has("made"));
  EXPECT_THAT(story(), testing::Contains("warning make, undo"));
  EXPECT_THAT(events().back().message, HasSubstr("the machine was restarted meanwhile"));
}

TEST_F(OperationTest, AnUnknownStageIsNamedAndTheOthersAreUndone) {
  leave_half_done(os::boot_id());
  append({{"stage_begun", "polish"}});
  EXPECT_TRUE(recover(directory_, "1", operations(), run_directory()).value());
  EXPECT_FALSE(has("made"));
  EXPECT_THAT(story(), testing::Contains("undo_failed polish, undo"));
  EXPECT_THAT(events().back().message, HasSubstr("could not be undone"));
}

TEST_F(OperationTest, AnUnknownOperationIsRefusedByName) {
  leave_half_done(os::boot_id(), "patch");
  auto recovered = recover(directory_, "1", operations(), run_directory());
  ASSERT_FALSE(recovered);
  EXPECT_THAT(recovered.error().message(), HasSubstr("'patch'"));
  EXPECT_TRUE(has("made"));
}

}  // namespace
}  // namespace upkeep::operation
