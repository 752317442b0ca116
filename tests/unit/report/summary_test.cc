#include "report/summary.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "fixture.h"

namespace upkeep::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> names(const std::vector<Part>& parts) {
  std::vector<std::string> all;
  for (const auto& part : parts) all.push_back(part.name);
  return all;
}

std::int64_t sum(const std::vector<Part>& parts) {
  return std::accumulate(parts.begin(), parts.end(), std::int64_t{0},
                         [](std::int64_t total, const Part& part) { return total + part.length_ns; });
}

const StageRun& stage(const Summary& summary, const std::string& name) {
  for (const auto& run : summary.stages) {
    if (run.name == name) return run;
  }
  throw std::runtime_error("no stage " + name);
}

// Parts follow each other without a gap and make up the window, and so do the pieces of a part.
void expect_exact(const Window& window) {
  std::int64_t at = window.begin_ns;
  for (const auto& part : window.parts) {
    EXPECT_EQ(part.begin_ns, at) << part.name;
    EXPECT_GE(part.length_ns, 0) << part.name;
    at += part.length_ns;
    if (!part.inside.empty()) {
      EXPECT_EQ(sum(part.inside), part.length_ns) << part.name;
    }
  }
  EXPECT_EQ(at, window.begin_ns + window.length_ns);
}

TEST(Summary, OfAGoodUpgrade) {
  Summary summary = summarise(journal("upgraded"));
  EXPECT_EQ(summary.outcome, Outcome::upgraded);
  EXPECT_EQ(summary.id, "20261123T151002Z");
  EXPECT_EQ(summary.from, "6.12.117+deb13-cloud-amd64");
  EXPECT_EQ(summary.to, "7.3.4+deb14-cloud-amd64") << "not the short name that was asked for";
  EXPECT_EQ(summary.exit_code, 0);
  ASSERT_EQ(summary.carried.size(), 2U);
  EXPECT_EQ(summary.carried[0].name, "redis-server");
  EXPECT_EQ(summary.carried[0].tasks, 6);
  EXPECT_THAT(summary.stopped_units,
              ElementsAre("cron.service", "memcached.service", "postgresql@17-main.service"));
  ASSERT_EQ(summary.warnings.size(), 1U);
  EXPECT_EQ(summary.warnings[0].stage, "settle");
  for (const auto& run : summary.stages) EXPECT_EQ(run.state, StepState::done) << run.name;
  EXPECT_EQ(stage(summary, "snapshot").side, Side::old_kernel);
  EXPECT_EQ(stage(summary, "jump").side, Side::old_kernel);
  EXPECT_EQ(stage(summary, "land").side, Side::new_kernel);
}

TEST(Summary, WindowIsFromTheFirstStopToTheLastResume) {
  Summary summary = summarise(journal("upgraded"));
  ASSERT_TRUE(summary.window);
  const Window& window = *summary.window;
  EXPECT_TRUE(window.closed);
  EXPECT_TRUE(window.crossed);
  EXPECT_TRUE(window.exact);
  // The stage park begins when the engine is started; the first task stops 51 ms later.
  EXPECT_EQ(window.begin_ns - stage(summary, "park").begin_ns, 51'000'000);
  EXPECT_EQ(window.begin_ns + window.length_ns, stage(summary, "resume").end_ns);
  EXPECT_THAT(names(window.parts), ElementsAre("park", "snapshot", "jump", "land", "restore", "resume"));
  EXPECT_THAT(names(window.parts[2].inside), ElementsAre("shutdown", "kernel", "initramfs", "other"));
  expect_exact(window);
}

TEST(Summary, WindowHasItsPartsInEveryJournal) {
  for (const auto& name : all_journals()) {
    SCOPED_TRACE(name);
    auto events = journal(name);
    // However much of it was written before the power failed.
    for (std::size_t length = 0; length <= events.size(); ++length) {
      for (bool alive : {false, true}) {
        Summary summary = summarise(std::span(events).first(length), {"x", alive});
        if (summary.window) expect_exact(*summary.window);
      }
    }
  }
}

TEST(Summary, WindowHasItsPartsInNonsense) {
  int windows = 0;
  for (unsigned seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(seed);
    auto events = random_journal(seed);
    Summary summary = summarise(events, {"x", seed % 2 == 0});
    for (const auto& run : summary.stages) {
      EXPECT_GE(run.length_ns(), 0) << run.name;
      EXPECT_LE(run.end_ns, summary.length_ns) << run.name;
    }
    if (!summary.window) continue;
    ++windows;
    expect_exact(*summary.window);
    EXPECT_GE(summary.window->length_ns, 0);
  }
  EXPECT_GT(windows, 1000);
}

TEST(Summary, FactsThatMeasureDivideTheirStage) {
  auto at = [](int ms) { return 1'795'446'600'000'000'000 + ms * 1'000'000LL; };
  std::vector<Event> events = {{"stage_begun", "park", "", {}, at(0), ""},
                               {"fact", "park", "", {{"window_begin_ns", 1}}, at(30), ""},
                               {"fact", "park", "", {{"engine.parked_ms", 999}}, at(70), ""},
                               {"fact", "park", "", {{"engine.images_bytes", 5}}, at(80), ""},
                               {"stage_done", "park", "", {}, at(100), ""},
                               {"fact", "park", "", {{"engine.late_ms", 1}}, at(110), ""}};
  Summary summary = summarise(events);
  const auto& parts = summary.window->parts;
  ASSERT_THAT(names(parts), ElementsAre("park"));
  EXPECT_THAT(names(parts[0].inside), ElementsAre("parked", "other"));
  EXPECT_EQ(parts[0].inside[0].length_ns, 40'000'000) << "from the first stop on, and as the axis has it";
  expect_exact(*summary.window);
}

TEST(Summary, OfAnUndoneUpgrade) {
  Summary summary = summarise(journal("undone"));
  EXPECT_EQ(summary.outcome, Outcome::undone);
  EXPECT_TRUE(ended_badly(summary.outcome));
  EXPECT_EQ(summary.stage, "snapshot");
  EXPECT_THAT(summary.message, HasSubstr("io_uring"));
  EXPECT_EQ(stage(summary, "snapshot").state, StepState::failed);
  for (const auto& run : summary.stages) {
    ASSERT_TRUE(run.undo) << run.name;
    EXPECT_EQ(run.undo->state, StepState::done) << run.name;
  }
  ASSERT_TRUE(summary.window);
  EXPECT_TRUE(summary.window->closed);
  EXPECT_FALSE(summary.window->crossed);
  EXPECT_THAT(names(summary.window->parts), ElementsAre("park", "snapshot", "undo"));
  EXPECT_EQ(summary.window->begin_ns + summary.window->length_ns, stage(summary, "park").undo->end_ns)
      << "what is undone after the tasks run again is no part of their pause";
}

TEST(Summary, UndoThatFailedLeavesThePauseOpen) {
  Summary summary = summarise(journal("undo_failed"));
  EXPECT_EQ(stage(summary, "park").undo->state, StepState::failed);
  EXPECT_THAT(stage(summary, "park").undo->message, HasSubstr("busy"));
  EXPECT_FALSE(summary.window->closed);
  EXPECT_FALSE(summary.window_s());
}

TEST(Summary, OfADryRun) {
  Summary summary = summarise(journal("dry_run"));
  EXPECT_EQ(summary.outcome, Outcome::dry_run);
  EXPECT_FALSE(ended_badly(summary.outcome));
  EXPECT_TRUE(summary.dry_run);
  EXPECT_FALSE(summary.window->crossed);
  EXPECT_TRUE(summary.window->closed);
  EXPECT_EQ(summary.facts["predicted_window_s"], 6.4);
  EXPECT_EQ(summary.stage, "");
}

TEST(Summary, WhatFailedBeforeParkHasNoWindow) {
  Summary summary = summarise(journal("failed_before"));
  EXPECT_EQ(summary.outcome, Outcome::failed_before);
  EXPECT_FALSE(summary.window);
  EXPECT_EQ(summary.stage, "prepare");
}

TEST(Summary, UnfinishedJournalIsRunningOrInterrupted) {
  auto events = journal("interrupted");
  Summary dead = summarise(events);
  EXPECT_EQ(dead.outcome, Outcome::interrupted);
  EXPECT_EQ(dead.stage, "snapshot");
  EXPECT_EQ(stage(dead, "snapshot").state, StepState::interrupted);
  EXPECT_FALSE(dead.window->closed);
  Summary alive = summarise(events, {"", true});
  EXPECT_EQ(alive.outcome, Outcome::running);
  EXPECT_EQ(stage(alive, "snapshot").state, StepState::running);
}

TEST(Summary, InterruptedAfterResumeIsOnlyUnsettled) {
  auto events = journal("upgraded");
  while (events.back().stage != "resume") events.pop_back();
  Summary summary = summarise(events);
  EXPECT_EQ(summary.outcome, Outcome::unsettled);
  EXPECT_FALSE(ended_badly(summary.outcome));
  EXPECT_TRUE(summary.window->closed);
}

TEST(Summary, UndoneByTheNextUpkeep) {
  Summary summary = summarise(journal("killed_then_undone"));
  EXPECT_EQ(summary.outcome, Outcome::undone);
  EXPECT_EQ(stage(summary, "snapshot").state, StepState::interrupted);
  EXPECT_EQ(stage(summary, "snapshot").undo->state, StepState::done);
  EXPECT_TRUE(summary.window->closed);
  EXPECT_GT(summary.window->length_ns, 2'500'000'000) << "they stood still until somebody came";
}

TEST(Summary, RestoreThatFailed) {
  Summary summary = summarise(journal("restore_failed"));
  EXPECT_EQ(summary.outcome, Outcome::restore_failed);
  EXPECT_EQ(summary.stage, "restore");
  EXPECT_TRUE(summary.window->crossed);
  EXPECT_FALSE(summary.window->closed);
}

TEST(Summary, RestoreTriedAgain) {
  auto events = journal("restored_later");
  Summary summary = summarise(events);
  EXPECT_EQ(summary.outcome, Outcome::upgraded);
  EXPECT_TRUE(summary.window->closed);
  EXPECT_THAT(names(summary.window->parts),
              ElementsAre("park", "snapshot", "jump", "land", "restore", "waiting", "restore", "resume"));
  // In the middle of the second try somebody asks.
  while (events.back().kind != "stage_begun" || events.back().stage != "restore") events.pop_back();
  EXPECT_EQ(summarise(events, {"", true}).outcome, Outcome::running);
  EXPECT_EQ(summarise(events).outcome, Outcome::restore_failed) << "the second try was killed";
}

TEST(Summary, ClockSetBackInTheJumpIsSaid) {
  Summary summary = summarise(journal("clock_back"));
  ASSERT_EQ(summary.warnings.size(), 1U);
  EXPECT_THAT(summary.warnings[0].text, HasSubstr("clock went back by 2 h"));
  EXPECT_FALSE(summary.window->exact);
  EXPECT_LT(summary.window->length_ns, 4'000'000'000);
}

TEST(Summary, MeasuredLengthIsBelievedBeforeTheClock) {
  Summary summary = summarise(journal("clock_back_measured"));
  EXPECT_THAT(summary.warnings, IsEmpty());
  EXPECT_TRUE(summary.window->exact);
  EXPECT_EQ(stage(summary, "jump").length_ns(), 4'200'000'000);
}

TEST(Summary, ClockFarAheadInTheNewKernelIsNotCounted) {
  auto events = journal("upgraded");
  constexpr std::int64_t kDay = 86'400'000'000'000;
  for (auto& event : events) {
    if (event.kernel.starts_with("7.")) event.time_ns += kDay;
    event.data.erase("duration_ns");
  }
  Summary summary = summarise(events);
  ASSERT_EQ(summary.warnings.size(), 2U);
  EXPECT_THAT(summary.warnings[0].text, HasSubstr("clock went forward"));
  EXPECT_LT(summary.window->length_ns, 10'000'000'000);
  EXPECT_FALSE(summary.window->exact);
}

TEST(Summary, SameReleaseOnBothSides) {
  auto events = journal("upgraded");
  for (auto& event : events) event.kernel = "7.3.4";
  events[0].data["from"] = "7.3.4";
  for (auto& event : events) {
    if (event.data.contains("to_release")) event.data["to_release"] = "7.3.4";
  }
  Summary summary = summarise(events);
  EXPECT_EQ(stage(summary, "snapshot").side, Side::old_kernel);
  EXPECT_EQ(stage(summary, "restore").side, Side::new_kernel);
  EXPECT_TRUE(summary.window->crossed);
}

TEST(Summary, NothingAtAll) {
  Summary summary = summarise({}, {"abc", false});
  EXPECT_EQ(summary.outcome, Outcome::interrupted);
  EXPECT_EQ(summary.id, "abc");
  EXPECT_FALSE(summary.window);
}

TEST(Summary, ItsJsonIsJsonAndAddsUp) {
  for (const auto& name : all_journals()) {
    SCOPED_TRACE(name);
    auto json = nlohmann::json::parse(to_json(summarise(journal(name))).dump());
    EXPECT_TRUE(json["outcome"].is_string());
    if (json["window"].is_null()) continue;
    std::int64_t total = 0;
    for (const auto& part : json["window"]["parts"]) total += part["length_ns"].get<std::int64_t>();
    EXPECT_EQ(total, json["window"]["length_ns"]);
    EXPECT_EQ(json["window_s"].is_null(), !json["window"]["closed"].get<bool>());
  }
}

}  // namespace
}  // namespace upkeep::report
