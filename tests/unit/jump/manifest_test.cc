#include "jump/manifest.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "jump/init_config.h"

namespace upkeep::jump {
namespace {

using testing::HasSubstr;

Manifest sample() {
  Manifest manifest;
  manifest.id = "20261123T151002Z";
  manifest.from = "6.12.117";
  manifest.to = "7.3.4";
  manifest.carry_set = {{"trees", nlohmann::json::array()}};
  manifest.hostname = "db1";
  manifest.mounts.push_back({"tmpfs", "tmpfs", "/run", "rw,nosuid,size=1024k"});
  manifest.adoptions.push_back({"nginx.service", 812});
  manifest.start_units = {"cron.service"};
  manifest.store.push_back({0x118000000, 0x8000000});
  manifest.settle_writes.emplace_back("/sys/kernel/rcu_expedited", "0");
  manifest.huge_pages.push_back({2U << 20U, 512, 16});
  manifest.clocks = {123456789, 1'700'000'000'000'000'000, 77, 78};
  manifest.tsc_frequency = 2.6e9;
  return manifest;
}

TEST(Manifest, SurvivesItsJson) {
  auto back = parse_manifest(to_json(sample()).dump());
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(to_json(*back), to_json(sample()));
  EXPECT_EQ(back->adoptions[0].main_pid, 812);
  EXPECT_EQ(back->store[0].size, 0x8000000U);
  EXPECT_EQ(back->clocks.tsc, 123456789U);
}

TEST(Manifest, OtherVersionIsRefusedByNumber) {
  auto json = to_json(sample());
  json["version"] = 99;
  auto manifest = manifest_from_json(json);
  ASSERT_FALSE(manifest);
  EXPECT_THAT(manifest.error().message(), HasSubstr("version 99"));
}

TEST(Manifest, EveryMissingOrMistypedFieldIsAnError) {
  const auto good = to_json(sample());
  for (const auto& item : good.items()) {
    auto json = good;
    json.erase(item.key());
    EXPECT_FALSE(manifest_from_json(json)) << "without " << item.key();
  }
  for (const char* key : {"version", "id", "start_units", "clocks", "mounts", "adoptions", "huge_pages",
                          "store", "settle_writes", "tsc_frequency"}) {
    auto json = good;
    json[key] = nlohmann::json::object({{"un", "expected"}});
    EXPECT_FALSE(manifest_from_json(json)) << "with a strange " << key;
  }
  EXPECT_FALSE(parse_manifest("{"));
  EXPECT_FALSE(parse_manifest("[]"));
}

TEST(InitConfig, SurvivesItsJson) {
  InitConfig config{"1", "/var/lib/upkeep", {"/dev/vda1", 254, 1, "75706b65", "ext4", "rw,relatime"}, 4711};
  auto back = init_config_from_json(to_json(config));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(to_json(*back), to_json(config));
  EXPECT_FALSE(init_config_from_json({{"id", "1"}}));
}

}  // namespace
}  // namespace upkeep::jump
