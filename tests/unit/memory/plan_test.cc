#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "../../test_directory.h"
#include "memory/carry_store.h"
#include "memory/huge_pool.h"

namespace upkeep::memory {
namespace {

using testing::HasSubstr;

class PlanTest : public testing::Test {
 protected:
  void SetUp() override {
    files_ = {directory_ + "/pools", directory_ + "/meminfo", directory_ + "/block_size",
              directory_ + "/compact"};
    put("/pools/hugepages-2048kB/nr_hugepages", "3\n");
    put("/pools/hugepages-1048576kB/nr_hugepages", "0\n");
    put("/block_size", "8000000\n");
    memory(2000 * kKiB, 1500 * kKiB);
  }
  void put(const std::string& name, const std::string& content) { test_.write(name, content); }
  void memory(std::uint64_t total_kb, std::uint64_t available_kb) {
    put("/meminfo", fmt::format("MemTotal:       {} kB\nMemFree:        1 kB\nMemAvailable:   {} kB\n",
                                total_kb, available_kb));
  }
  std::string pool(const char* size) const {
    return os::read_file(files_.pools + "/hugepages-" + size + "/nr_hugepages").value();
  }
  TestDirectory test_;
  const std::string& directory_ = test_.path();
  HugePageFiles files_;
};

TEST_F(PlanTest, RecordsThePoolsForUndo) {
  const auto plan = plan_reservation(200 * kMiB, files_);
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_FALSE(plan->gigantic);
  EXPECT_EQ(plan->block_size, 128 * kMiB);
  EXPECT_EQ(plan->memory.available, 1500 * kMiB);
  ASSERT_EQ(plan->undo.size(), 2U);
  EXPECT_EQ(plan->undo[0]["pages"], 3);
  EXPECT_EQ(plan->undo[0]["page_size"], 2 * kMiB);
  // What another process does with it, after it went through the journal as text.
  put("/pools/hugepages-2048kB/nr_hugepages", "7\n");
  const auto journaled = nlohmann::json::parse(plan->undo.dump());
  EXPECT_TRUE(undo_reservation(journaled));
  EXPECT_EQ(pool("2048kB"), "3\n");
  EXPECT_TRUE(undo_reservation(journaled));
}

TEST_F(PlanTest, GiganticPagesOnlyWhereMemoryIsPlentiful) {
  memory(8000 * kKiB, 7000 * kKiB);
  EXPECT_TRUE(plan_reservation(200 * kMiB, files_).value().gigantic);
  memory(8000 * kKiB, 2900 * kKiB);
  EXPECT_FALSE(plan_reservation(200 * kMiB, files_).value().gigantic);
}

TEST_F(PlanTest, RefusesWhatDoesNotFitAndSaysHowMuch) {
  const auto plan = plan_reservation(1400 * kMiB, files_);
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message(), HasSubstr("1400 MB of memory are needed"));
  EXPECT_THAT(plan.error().message(), HasSubstr("1500 MB are available"));
  EXPECT_EQ(check_room(1400 * kMiB, files_).severity, Finding::Severity::refusal);
  EXPECT_EQ(check_room(200 * kMiB, files_).severity, Finding::Severity::ok);
}

TEST_F(PlanTest, KernelWithoutHugePages) {
  files_.pools = directory_ + "/none";
  const auto plan = plan_reservation(kMiB, files_);
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message(), HasSubstr("no huge pages"));
}

TEST(Undo, RefusesARecordThatItCannotRead) {
  for (const char* text : {"{}", "[1]", "[{}]", "null", R"([{"pools":"/x","page_size":-1,"pages":0}])",
                           R"([{"pools":7,"page_size":1,"pages":0}])"})
    EXPECT_FALSE(undo_reservation(nlohmann::json::parse(text))) << text;
}

TEST(Meminfo, HostileTexts) {
  for (const char* text : {"", "MemTotal:", "MemTotal: x kB\nMemAvailable: 1 kB\n", "MemTotal: 5 kB\n"})
    EXPECT_FALSE(parse_meminfo(text)) << text;
}

TEST(Pagemap, Entries) {
  EXPECT_EQ(decode_pagemap(0x8180000000123456).value(), 0x123456000U);
  EXPECT_FALSE(decode_pagemap(0x0000000000123456));  // not present: swapped out, or never touched
  EXPECT_THAT(decode_pagemap(0x8000000000000000).error().message(), HasSubstr("needs root"));
}

}  // namespace
}  // namespace upkeep::memory
