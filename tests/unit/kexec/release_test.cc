#include "kexec/release.h"

#include <gtest/gtest.h>

namespace upkeep::kexec {
namespace {

TEST(Release, OldestToNewest) {
  const std::vector<std::string> order = {"6.1.9-cloud-amd64",
                                          "6.1.192-cloud-amd64",
                                          "6.9.1-amd64",
                                          "6.12.9+deb13-amd64",
                                          "6.12.117+deb13-cloud-amd64",
                                          "6.18.3+deb13-amd64",
                                          "7.3-rc2",
                                          "7.3-rc10",
                                          "7.3",
                                          "7.3.4+deb13-cloud-amd64",
                                          "7.3.10+deb13-amd64",
                                          "7.10.1",
                                          "10.0"};
  for (std::size_t i = 0; i < order.size(); ++i)
    for (std::size_t j = 0; j < order.size(); ++j) {
      const int compared = compare_releases(order[i], order[j]);
      EXPECT_EQ(compared < 0, i < j) << order[i] << " and " << order[j];
      EXPECT_EQ(compared > 0, i > j) << order[i] << " and " << order[j];
    }
}

TEST(Release, OddNames) {
  EXPECT_EQ(compare_releases("", ""), 0);
  EXPECT_LT(compare_releases("", "1"), 0);
  EXPECT_EQ(compare_releases("6.01", "6.1"), 0);
  EXPECT_LT(compare_releases("6.1", "6.1.1"), 0);
  EXPECT_GT(compare_releases("6.1-custom", "6.1"), 0);
  EXPECT_LT(compare_releases("6.99999999999999999999998", "6.99999999999999999999999"),
            0);  // larger than any integer type
}

TEST(Release, AShortNameEndsAtABorder) {
  EXPECT_TRUE(stands_for("6.1", "6.1.192-cloud-amd64"));
  EXPECT_FALSE(stands_for("6.1", "6.12.117+deb13-cloud-amd64"));
  EXPECT_TRUE(stands_for("6.12.117", "6.12.117+deb13-cloud-amd64"));
  EXPECT_FALSE(stands_for("6.12.11", "6.12.117+deb13-cloud-amd64"));
  EXPECT_TRUE(stands_for("7.3.4+deb13-cloud-amd64", "7.3.4+deb13-cloud-amd64"));
  EXPECT_FALSE(stands_for("", "7.3.4"));
  EXPECT_FALSE(stands_for("7.3.4.1", "7.3.4"));
}

TEST(Release, NewestOfASeries) {
  const std::vector<std::string> installed = {"6.12.9-amd64", "6.12.117-amd64", "6.1.200-amd64", "6.12"};
  EXPECT_EQ(newest_match("6.1", installed), "6.1.200-amd64");
  EXPECT_EQ(newest_match("6", installed), "6.12.117-amd64");
  EXPECT_EQ(newest_match("6.12", installed), "6.12");  // one has exactly this name
  EXPECT_EQ(newest_match("7.3", installed), std::nullopt);
}

}  // namespace
}  // namespace upkeep::kexec
