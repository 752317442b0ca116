#include "operation/plan.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace upkeep::operation {
namespace {

TEST(Plan, SurvivesItsJson) {
  Plan plan{"1", "/s", "upgrade", true, 12.5, {{"carry", {4, 5}}}};
  auto back = plan_from_json(to_json(plan));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(to_json(*back), to_json(plan));
  EXPECT_FALSE(plan_from_json({{"id", "1"}}));
  EXPECT_FALSE(plan_from_json(nlohmann::json::array()));
}

TEST(Plan, IdSortsByTime) {
  const auto id = new_id();
  EXPECT_EQ(id.size(), 16U);
  EXPECT_EQ(id.back(), 'Z');
  EXPECT_GT(id, "20200101T000000Z");
}

}  // namespace
}  // namespace upkeep::operation
