#include "landing/huge_page_pools.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace upkeep::landing {
namespace {

TEST(HugePagePools, WeDoNotUseAny) { EXPECT_FALSE(use_huge_page_pools({getpid()})); }

}  // namespace
}  // namespace upkeep::landing
