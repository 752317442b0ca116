#include "machine/huge_page_pools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "../../test_directory.h"

namespace upkeep::machine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// As the kernel shows its pools, but for what it makes of a number that is written.
class HugePagePools : public testing::Test {
 protected:
  void there_is(unsigned kilobytes, unsigned pages, unsigned surplus = 0, unsigned overcommit = 0) const {
    const auto pool = fmt::format("{}/hugepages-{}kB", directory_, kilobytes);
    ASSERT_TRUE(os::make_directories(pool));
    for (const auto& [file, value] : {std::pair{"nr_hugepages", pages},
                                      {"free_hugepages", 0U},
                                      {"resv_hugepages", 0U},
                                      {"surplus_hugepages", surplus},
                                      {"nr_overcommit_hugepages", overcommit}})
      ASSERT_TRUE(os::replace_file(fmt::format("{}/{}", pool, file), std::to_string(value)));
  }
  std::string value(unsigned kilobytes, const char* file) const {
    return os::read_file(fmt::format("{}/hugepages-{}kB/{}", directory_, kilobytes, file))
        .value_or("nothing");
  }
  Result<std::vector<std::string>> make(const std::vector<HugePagePool>& wanted) const {
    return make_pools(wanted, std::chrono::seconds(5), directory_);
  }
  TestDirectory test_;
  const std::string& directory_ = test_.path();
};
constexpr std::uint64_t kTwo = 2U << 20U, kGigantic = 1U << 30U;

TEST_F(HugePagePools, AreMadeAsLargeAsTheyWere) {
  there_is(2048, 0);
  there_is(1048576, 0);
  const auto less = make({{kTwo, 30, 7}, {kGigantic, 2, 0}});
  ASSERT_TRUE(less) << less.error().message();
  EXPECT_THAT(*less, IsEmpty());
  EXPECT_EQ(value(2048, "nr_hugepages"), "30");
  EXPECT_EQ(value(2048, "nr_overcommit_hugepages"), "7");
  EXPECT_EQ(value(1048576, "nr_hugepages"), "2");
  EXPECT_EQ(value(1048576, "nr_overcommit_hugepages"), "0");
}

TEST_F(HugePagePools, LargerOnesStayAsTheyAre) {
  there_is(2048, 40, 4, 9);
  ASSERT_TRUE(make({{kTwo, 36, 8}}));
  EXPECT_EQ(value(2048, "nr_hugepages"), "40");
  EXPECT_EQ(value(2048, "nr_overcommit_hugepages"), "9");
  ASSERT_TRUE(make({{kTwo, 37, 8}}));
  EXPECT_EQ(value(2048, "nr_hugepages"), "37") << "pages beyond the pool's size are none of its own";
}

TEST_F(HugePagePools, WhatIsMissingIsTold) {
  there_is(2048, 0);
  const auto less = make({{kGigantic, 2, 0}, {kTwo, 1, 0}});
  ASSERT_TRUE(less);
  EXPECT_THAT(*less, ElementsAre(HasSubstr("no huge pages of 1048576 kB")));
  EXPECT_EQ(value(2048, "nr_hugepages"), "1");
}

TEST_F(HugePagePools, NobodyWhoUsesOneNeedsAny) {
  const auto pools = pools_in_use({::getpid()});
  ASSERT_TRUE(pools);
  EXPECT_THAT(*pools, IsEmpty());
}

TEST_F(HugePagePools, SurviveTheirJson) {
  const auto back = huge_page_pool_from_json(to_json(HugePagePool{kTwo, 30, 7}));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->pages, 30U);
  EXPECT_EQ(back->overcommit, 7U);
  EXPECT_FALSE(huge_page_pool_from_json({{"page_size", kTwo}}));
}

}  // namespace
}  // namespace upkeep::machine
