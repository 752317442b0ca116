#include "os/proc_maps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>

namespace upkeep::os {
namespace {

using ::testing::HasSubstr;

TEST(ProcMaps, ALineIsTakenApart) {
  const auto line =
      parse_maps_line("7f00-8000 rw-p 0000a000 fe:01 123                        /a b\\012c (deleted)");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->start, 0x7f00U);
  EXPECT_EQ(line->end, 0x8000U);
  EXPECT_TRUE(line->read && line->write && !line->execute && !line->shared);
  EXPECT_EQ(line->offset, 0xa000U);
  EXPECT_EQ(line->device, makedev(0xfe, 1));
  EXPECT_EQ(line->inode, 123U);
  EXPECT_EQ(line->name, "/a b\nc (deleted)");
}

TEST(ProcMaps, SharingAndMissingNames) {
  const auto maps = parse_maps("1000-2000 --xs 00000000 00:00 0 \n2000-3000 ---p 00000000 00:00 0\n");
  ASSERT_TRUE(maps);
  ASSERT_EQ(maps->size(), 2U);
  EXPECT_TRUE(maps->front().shared && maps->front().execute);
  EXPECT_FALSE(maps->back().shared);
  EXPECT_EQ(maps->back().name, "");
}

TEST(ProcMaps, OtherTextIsAnError) {
  for (const char* text : {"1000 rw-p 0 00:00 0", "1000-2000 rw- 0 00:00 0", "1000-2000 rw-p 0 0000 0",
                           "1000-2000 rw-p 0 00:00 x", "1000-2000 rw-p g 00:00 0", "\n"}) {
    const auto maps = parse_maps(text);
    ASSERT_FALSE(maps) << text;
    EXPECT_THAT(maps.error().message(), HasSubstr("not a line of maps"));
  }
}

TEST(ProcMaps, OursHaveThisVariable) {
  static int variable = 0;
  const auto maps = own_maps();
  ASSERT_TRUE(maps);
  const auto at = reinterpret_cast<std::uintptr_t>(&variable);
  EXPECT_TRUE(
      std::ranges::any_of(*maps, [&](const auto& m) { return m.start <= at && at < m.end && m.write; }));
}

}  // namespace
}  // namespace upkeep::os
