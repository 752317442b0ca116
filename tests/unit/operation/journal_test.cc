#include "operation/journal.h"

#include <gmock/gmock.h>

#include "../../test_directory.h"

namespace upkeep::operation {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Journal, TornLastLineIsLeftOut) {
  auto events = parse_journal("{\"kind\":\"upgrade_begun\"}\n{\"kind\":\"stage_be");
  ASSERT_TRUE(events) << events.error().message();
  ASSERT_EQ(events->size(), 1U);
  EXPECT_EQ((*events)[0].kind, "upgrade_begun");
}

TEST(Journal, BadLineInTheMiddleIsAnErrorThatNamesIt) {
  auto events = parse_journal("{\"kind\":\"a\"}\nrubbish\n{\"kind\":\"b\"}\n");
  ASSERT_FALSE(events);
  EXPECT_THAT(events.error().message(), HasSubstr("line 2"));
}

TEST(Journal, WhatIsAppendedIsRead) {
  const TestDirectory test;
  const std::string& directory = test.path();
  {
    auto journal = Journal::open(directory, "1");
    ASSERT_TRUE(journal) << journal.error().message();
    ASSERT_TRUE(journal->append({"stage_begun", "park", "not UTF-8: \xff"}));
  }
  auto again = Journal::open(directory, "1");
  ASSERT_TRUE(again->append({"stage_done", "park"}));
  auto events = read_journal(journal_path(directory, "1"));
  ASSERT_TRUE(events) << events.error().message();
  ASSERT_EQ(events->size(), 2U);
  EXPECT_GT((*events)[0].time_ns, 0);
  EXPECT_FALSE((*events)[0].kernel.empty());
  EXPECT_THAT(list_upgrades(directory).value(), ElementsAre("1"));
  EXPECT_TRUE(list_upgrades(directory + "/missing").value().empty());
}

TEST(Progress, KnowsWhatIsBegunAndNotUndone) {
  std::vector<Event> events = {{"upgrade_begun", "", "", {{"id", "7"}, {"boot_id", "b"}}},
                               {"stage_begun", "prepare"},
                               {"fact", "prepare", "", {{"loading", true}, {"work_directory", "/a"}}},
                               {"fact", "prepare", "", {{"work_directory", "/b"}}},
                               {"stage_done", "prepare"},
                               {"stage_begun", "park"}};
  auto progress = progress_of(events);
  EXPECT_EQ(progress.id, "7");
  EXPECT_EQ(progress.boot_id, "b");
  EXPECT_THAT(progress.begun, ElementsAre("prepare", "park"));
  EXPECT_EQ(progress.facts["prepare"]["work_directory"], "/b");
  EXPECT_EQ(progress.facts["prepare"]["loading"], true);
  EXPECT_FALSE(progress.ended);
  events.push_back({"undo_done", "park"});
  EXPECT_THAT(progress_of(events).begun, ElementsAre("prepare"));
  events.push_back({"upgrade_ended"});
  EXPECT_TRUE(progress_of(events).ended);
}

}  // namespace
}  // namespace upkeep::operation
