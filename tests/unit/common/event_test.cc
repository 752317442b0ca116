#include "common/event.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace upkeep {
namespace {

TEST(Event, SurvivesItsJson) {
  Event event{"stage_done",        "park",    "3 tasks stand still", {{"pids", {4, 5, 6}}},
              1234567890123456789, "6.12.117"};
  auto back = event_from_json(to_json(event));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->kind, "stage_done");
  EXPECT_EQ(back->stage, "park");
  EXPECT_EQ(back->message, "3 tasks stand still");
  EXPECT_EQ(back->data["pids"].size(), 3U);
  EXPECT_EQ(back->time_ns, 1234567890123456789);
  EXPECT_EQ(back->kernel, "6.12.117");
}

TEST(Event, EmptyFieldsAreLeftOut) {
  Event event;
  event.kind = "progress";
  EXPECT_FALSE(to_json(event).contains("stage"));
  EXPECT_FALSE(to_json(event).contains("data"));
}

TEST(Event, RefusesWhatIsNoEvent) {
  EXPECT_FALSE(event_from_json(nlohmann::json::array()));
  EXPECT_FALSE(event_from_json(nlohmann::json::object()));
  EXPECT_FALSE(event_from_json({{"kind", 7}}));
  EXPECT_FALSE(event_from_json({{"kind", "fact"}, {"time_ns", "soon"}}));
  EXPECT_FALSE(event_from_json({{"kind", "fact"}, {"data", {1, 2}}}));
}

}  // namespace
}  // namespace upkeep
