#include "memory/range_choice.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

namespace upkeep::memory {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint64_t kPage = 2 * kMiB;

void add_run(std::vector<std::uint64_t>& pages, std::uint64_t start, std::uint64_t size) {
  for (std::uint64_t at = start; at < start + size; at += kPage) pages.push_back(at);
}

std::vector<std::uint64_t> shuffled(std::vector<std::uint64_t> pages) {
  std::shuffle(pages.begin(), pages.end(), std::mt19937(7));
  return pages;
}

TEST(RangeChoice, TakesWholeBlocksWhereTheyAreEnough) {
  std::vector<std::uint64_t> pages;
  add_run(pages, 100 * kMiB, 500 * kMiB);  // 128..512 are three whole blocks
  ChoiceRules rules;
  rules.bytes_needed = 200 * kMiB;
  EXPECT_THAT(choose_ranges(shuffled(pages), rules).value(),
              ElementsAre(PhysicalRange{256 * kMiB, 256 * kMiB}));
}

TEST(RangeChoice, PrefersHighAddressesAmongEqualRuns) {
  std::vector<std::uint64_t> pages;
  add_run(pages, kGiB, 128 * kMiB);
  add_run(pages, 2 * kGiB, 128 * kMiB);
  ChoiceRules rules;
  rules.bytes_needed = 100 * kMiB;
  EXPECT_THAT(choose_ranges(shuffled(pages), rules).value(),
              ElementsAre(PhysicalRange{2 * kGiB, 128 * kMiB}));
}

TEST(RangeChoice, TakesTheLongestRunsWhereThereAreNoBlocks) {
  std::vector<std::uint64_t> pages;
  add_run(pages, kGiB + 2 * kMiB, 100 * kMiB);
  add_run(pages, 2 * kGiB + 2 * kMiB, 20 * kMiB);
  add_run(pages, 3 * kGiB + 2 * kMiB, 60 * kMiB);
  ChoiceRules rules;
  rules.bytes_needed = 131 * kMiB;
  EXPECT_THAT(choose_ranges(shuffled(pages), rules).value(),
              ElementsAre(PhysicalRange{kGiB + 2 * kMiB, 100 * kMiB},
                          PhysicalRange{3 * kGiB + 30 * kMiB, 32 * kMiB}));
}

TEST(RangeChoice, NeverBelowSixteenMegabytes) {
  std::vector<std::uint64_t> pages;
  add_run(pages, 4 * kMiB, 40 * kMiB);
  ChoiceRules rules;
  rules.bytes_needed = 28 * kMiB;
  EXPECT_THAT(choose_ranges(pages, rules).value(), ElementsAre(PhysicalRange{16 * kMiB, 28 * kMiB}));
  rules.bytes_needed = 30 * kMiB;
  const auto none = choose_ranges(pages, rules);
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message(), HasSubstr("30 MB of huge pages are needed"));
}

TEST(RangeChoice, RefusesMemoryThatIsTooFragmented) {
  std::vector<std::uint64_t> pages;
  for (std::uint64_t i = 0; i < 40; ++i) pages.push_back(kGiB + i * 2 * kPage);
  ChoiceRules rules;
  rules.bytes_needed = 12 * kPage;
  EXPECT_EQ(choose_ranges(shuffled(pages), rules).value().size(), 12U);
  rules.bytes_needed = 13 * kPage;
  const auto none = choose_ranges(shuffled(pages), rules);
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message(), HasSubstr("fragmented"));
}

TEST(RangeChoice, AsksForSomething) { EXPECT_FALSE(choose_ranges(std::vector{kGiB}, {})); }

// Whatever the kernel gives: enough, sorted, apart, aligned, and only pages that were given.
TEST(RangeChoice, HoldsItsPromiseForRandomPages) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::uint64_t> pages;
    while (pages.size() < 400) {
      const std::uint64_t start = (random() % 4096) * kPage;
      for (std::uint64_t i = 0; i < 1 + random() % 150; ++i) pages.push_back(start + i * kPage);
    }
    ChoiceRules rules;
    rules.bytes_needed = 1 + random() % (300 * kMiB);
    const auto ranges = choose_ranges(pages, rules);
    if (!ranges) continue;
    EXPECT_GE(total_size(*ranges), rules.bytes_needed);
    EXPECT_LE(ranges->size(), rules.most_ranges);
    EXPECT_EQ(merged(*ranges), *ranges);
    for (const auto& range : *ranges)
      for (std::uint64_t at = range.start; at < range.end(); at += kPage)
        ASSERT_NE(std::ranges::find(pages, at), pages.end());
  }
}

}  // namespace
}  // namespace upkeep::memory
