#include "jump/request.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace upkeep::jump {
namespace {

TEST(Request, SurvivesItsJson) {
  const Request request{{"7.3", ""}, {4, 5}};
  auto back = request_from_json(to_json(request));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(to_json(*back), to_json(request));
  EXPECT_FALSE(request_from_json({{"carry", {4}}}));
  EXPECT_FALSE(request_from_json(nlohmann::json::array()));
}

TEST(Request, ACrashKernelIsRefusedByName) {
  auto request = request_from_json(to_json(Request{{"7.3", "6.12"}, {4}}));
  ASSERT_FALSE(request);
  EXPECT_THAT(request.error().message(), testing::HasSubstr("no crash kernel (6.12)"));
}

}  // namespace
}  // namespace upkeep::jump
