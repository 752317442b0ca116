#include "report/text.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

#include "fixture.h"

namespace upkeep::report {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

const Style kUnicode{false, false, true, 100};
const Style kAscii{false, false, false, 80};
const Style kLive{true, true, true, 80};

// Compares with fixtures/NAME, or writes it anew where UPKEEP_WRITE_FIXTURES is set: look at the difference
// then.
void expect_like_fixture(const std::string& name, const std::string& text) {
  const std::string path = std::string(UPKEEP_FIXTURES "/") + name;
  if (std::getenv("UPKEEP_WRITE_FIXTURES") != nullptr) std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(text, file_text(path));
}

std::string told(const Style& style, const std::vector<Event>& events) {
  std::string out;
  ProgressText progress(style, [&](std::string_view text) { out += text; });
  for (const auto& event : events) progress(event);
  progress.finish();
  return out;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, SummaryText) {
  expect_like_fixture(GetParam() + ".summary.txt", summary_text(summarise(journal(GetParam())), kUnicode));
}

TEST_P(Golden, Progress) {
  expect_like_fixture(GetParam() + ".progress.txt", told(kUnicode, journal(GetParam())));
}

INSTANTIATE_TEST_SUITE_P(Journals, Golden, testing::ValuesIn(all_journals()),
                         [](const auto& one) { return one.param; });

TEST(SummaryText, IsAsciiWhereTheTerminalIs) {
  for (const char* name : {"upgraded", "undone", "dry_run", "clock_back"}) {
    auto events = journal(name);
    Summary summary = summarise(events);
    for (const auto& text : {summary_text(summary, kAscii), outcome_line(summary, kAscii),
                             history_text(std::span(&summary, 1), kAscii), told(kAscii, events)}) {
      for (char c : text) ASSERT_GT(c, 0) << name << ": " << text;
    }
  }
}

TEST(SummaryText, NothingHostileReachesTheTerminal) {
  auto events = journal("hostile");
  Summary summary = summarise(events);
  for (const auto& text : {summary_text(summary, kUnicode), history_text(std::span(&summary, 1), kUnicode),
                           told(kUnicode, events)}) {
    EXPECT_THAT(text, Not(HasSubstr("\33")));
    EXPECT_THAT(text, Not(HasSubstr("\r")));
    EXPECT_THAT(text, Not(HasSubstr("\nforged")));
  }
}

TEST(SummaryText, SaysHowToTryAgain) {
  auto text = summary_text(summarise(journal("restore_failed")), kUnicode);
  EXPECT_THAT(text, HasSubstr("upkeep restore 20261123T151002Z "));
  EXPECT_THAT(text, HasSubstr("--discard"));
}

TEST(SummaryText, AnUncertainPauseIsAtLeast) {
  EXPECT_THAT(summary_text(summarise(journal("clock_back")), kUnicode), HasSubstr("at least 3.1"));
}

TEST(OutcomeLine, FitsALine) {
  EXPECT_EQ(outcome_line(summarise(journal("upgraded")), kUnicode),
            "upgraded 6.12.117+deb13-cloud-amd64 → 7.3.4+deb14-cloud-amd64, window 7.228 s");
  EXPECT_EQ(outcome_line(summarise(journal("undone")), kAscii),
            "undone 6.12.117+deb13-cloud-amd64 -> 7.3.4+deb14-cloud-amd64, in stage snapshot, pause 0.932 s");
}

TEST(History, IsATable) {
  std::vector<Summary> all;
  for (const char* name :
       {"upgraded", "undone", "failed_before", "interrupted", "restore_failed", "dry_run"}) {
    all.push_back(summarise(journal(name)));
  }
  expect_like_fixture("history.txt", history_text(all, kUnicode));
}

TEST(Progress, DrawsOverTheLastLineOfATerminalOnly) {
  std::vector<Event> events = {{"stage_begun", "prepare", "", {}, 1'000'000'000, ""},
                               {"progress", "prepare", "unpacking", {{"percent", 40}}, 1'500'000'000, ""}};
  std::string out;
  ProgressText live(kLive, [&](std::string_view text) { out += text; });
  for (const auto& event : events) live(event);
  live.tick(3'500'000'000);
  EXPECT_THAT(out, HasSubstr("unpacking  40 %"));
  EXPECT_THAT(out, HasSubstr("2.5 s"));
  EXPECT_THAT(out, Not(HasSubstr("\n")));
  out.clear();
  live({"stage_done", "prepare", "loaded", {}, 4'000'000'000, ""});
  EXPECT_THAT(out, testing::StartsWith("\r\33[K"));
  EXPECT_THAT(out, HasSubstr("loaded"));
  EXPECT_THAT(out, HasSubstr("3.00 s"));
  EXPECT_THAT(out, EndsWith("\n"));
  out.clear();
  live.tick(5'000'000'000);
  EXPECT_EQ(out, "") << "nothing runs";
}

TEST(Progress, TellsEachQuarterOnceWhereNothingCanBeDrawnOver) {
  std::vector<Event> events = {{"stage_begun", "prepare", "", {}, 1, ""}};
  for (int percent = 0; percent <= 100; percent += 5) {
    events.push_back({"progress", "prepare", "copying", {{"percent", percent}}, 1, ""});
  }
  EXPECT_EQ(told(kAscii, events),
            "  ...  prepare   copying 25 %\n"
            "  ...  prepare   copying 50 %\n"
            "  ...  prepare   copying 75 %\n");
}

TEST(Progress, TellsWhatIsBegunWhereNothingCanBeDrawnOver) {
  std::vector<Event> events = {{"stage_begun", "prepare", "", {}, 1, ""},
                               {"progress", "prepare", "reserving memory", {}, 1, ""},
                               {"progress", "prepare", "reserving memory", {}, 2, ""},
                               {"progress", "prepare", "loading", {}, 3, ""}};
  EXPECT_EQ(told(kAscii, events), "  ...  prepare   reserving memory\n  ...  prepare   loading\n");
}

TEST(Progress, BelievesAMeasuredLength) {
  std::vector<Event> events = {
      {"stage_begun", "jump", "", {}, 5'000'000'000, ""},
      {"stage_done", "jump", "", {{"duration_ns", 4'000'000'000}}, 1'000'000'000, ""}};
  EXPECT_THAT(told(kUnicode, events), HasSubstr("4.00 s"));
}

TEST(Progress, NeverCutsAnError) {
  const std::string error(300, 'e');
  std::vector<Event> events = {{"stage_begun", "prepare", "", {}, 1, ""},
                               {"stage_failed", "prepare", error, {}, 2, ""}};
  EXPECT_THAT(told(kUnicode, events), HasSubstr(error));
}

TEST(Style, OfAFileIsPlain) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  Style style = style_of(fileno(file));
  EXPECT_FALSE(style.live);
  EXPECT_FALSE(style.color);
  std::fclose(file);
}

}  // namespace
}  // namespace upkeep::report
