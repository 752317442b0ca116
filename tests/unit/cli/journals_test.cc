#include "cli/journals.h"

#include <gmock/gmock.h>

#include <thread>

#include "state_directory.h"

namespace upkeep::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> kinds(const std::vector<Event>& events) {
  std::vector<std::string> all;
  for (const auto& event : events) all.push_back(event.kind);
  return all;
}

TEST(JournalReader, TakesPiecesThatEndAnywhere) {
  const std::string text = R"({"kind":"stage_begun","stage":"park"})"
                           "\n"
                           R"({"kind":"stage_done","stage":"park"})"
                           "\n";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    JournalReader reader;
    auto events = reader.take(text.substr(0, cut));
    auto rest = reader.take(text.substr(cut));
    events.insert(events.end(), rest.begin(), rest.end());
    EXPECT_THAT(kinds(events), ElementsAre("stage_begun", "stage_done")) << cut;
    EXPECT_FALSE(reader.torn());
  }
}

TEST(JournalReader, MakesAWarningOfWhatItCannotRead) {
  JournalReader reader;
  auto events = reader.take("{\"kind\":\"fact\"}\n{\"kind\":\n\n[1]\n{\"kind\":\"fact\"}\n{\"ki");
  EXPECT_THAT(kinds(events), ElementsAre("fact", "warning", "warning", "fact"));
  EXPECT_THAT(events[1].message, HasSubstr("line 2"));
  EXPECT_THAT(events[2].message, HasSubstr("line 4"));
  EXPECT_TRUE(reader.torn());
}

TEST(Upgrades, AreListedOldestFirst) {
  StateDirectory state;
  state.append("b", begun("b", 1) + ended("upgraded"));
  state.append("a", begun("a", 2) + ended("undone"));
  std::filesystem::create_directories(state.path() + "/no-journal-in-here");
  auto upgrades = read_upgrades(state.path());
  ASSERT_TRUE(upgrades) << upgrades.error().message();
  ASSERT_EQ(upgrades->size(), 2U);
  EXPECT_EQ((*upgrades)[0].id, "b");
  EXPECT_EQ((*upgrades)[1].id, "a");
  EXPECT_EQ((*upgrades)[1].outcome, report::Outcome::undone);
}

TEST(Upgrades, NoneWhereThereIsNoFolder) {
  auto upgrades = read_upgrades("/nonexistent/upkeep");
  ASSERT_TRUE(upgrades);
  EXPECT_THAT(*upgrades, IsEmpty());
  auto one = read_upgrade("/nonexistent/upkeep", "");
  ASSERT_FALSE(one);
  EXPECT_THAT(one.error().message(), HasSubstr("no upgrade has been run on this machine yet"));
}

TEST(Upgrades, AreFoundByTheBeginningOfTheirId) {
  StateDirectory state;
  state.append("20261123T1", begun("20261123T1", 1));
  state.append("20261123T15", begun("20261123T15", 2));
  state.append("20261124T1", begun("20261124T1", 3));
  EXPECT_EQ(read_upgrade(state.path(), "20261124")->id, "20261124T1");
  EXPECT_EQ(read_upgrade(state.path(), "20261123T1")->id, "20261123T1") << "a whole ID is no mere beginning";
  EXPECT_EQ(read_upgrade(state.path(), "")->id, "20261124T1") << "the newest";
  EXPECT_THAT(read_upgrade(state.path(), "20261123").error().message(),
              HasSubstr("20261123T1 or 20261123T15"));
  EXPECT_THAT(read_upgrade(state.path(), "2027").error().message(), HasSubstr("no upgrade '2027'"));
}

TEST(Upgrades, SayWhenTheirLastLineIsTorn) {
  StateDirectory state;
  state.append("a", begun("a", 1) + "{\"kind\":\"stage_be");
  auto one = read_upgrade(state.path(), "a");
  ASSERT_TRUE(one);
  ASSERT_EQ(one->warnings.size(), 1U);
  EXPECT_THAT(one->warnings[0].text, HasSubstr("not whole"));
  EXPECT_EQ(one->outcome, report::Outcome::interrupted);
}

// Collects until KIND comes; the timeout bounds a failing test only.
std::vector<std::string> heard_until(JournalFollower& follower, const std::string& kind) {
  std::vector<std::string> heard;
  for (int tries = 0; tries < 100; ++tries) {
    auto events = follower.wait(std::chrono::milliseconds(200));
    if (!events) return {events.error().message()};
    for (const auto& name : kinds(*events)) heard.push_back(name);
    if (!heard.empty() && heard.back() == kind) break;
  }
  return heard;
}

TEST(JournalFollower, HearsAJournalThatIsMadeLater) {
  StateDirectory state;
  auto follower = JournalFollower::open(state.path(), "x");
  ASSERT_TRUE(follower) << follower.error().message();
  EXPECT_THAT(*follower->wait(std::chrono::milliseconds(0)), IsEmpty());
  std::thread writer([&] {
    state.append("x", begun("x", 1));
    for (char c : std::string("{\"kind\":\"fact\"}\n")) state.append("x", std::string(1, c));
    state.append("x", ended("upgraded"));
  });
  EXPECT_THAT(heard_until(*follower, "upgrade_ended"), ElementsAre("upgrade_begun", "fact", "upgrade_ended"));
  writer.join();
}

TEST(JournalFollower, BeginsWithWhatIsThere) {
  StateDirectory state;
  state.append("x", begun("x", 1) + ended("undone"));
  auto follower = JournalFollower::open(state.path(), "x");
  ASSERT_TRUE(follower);
  EXPECT_THAT(heard_until(*follower, "upgrade_ended"), ElementsAre("upgrade_begun", "upgrade_ended"));
}

}  // namespace
}  // namespace upkeep::cli
