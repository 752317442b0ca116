#include "machine/mounts.h"

#include <gmock/gmock.h>

namespace upkeep::machine {
namespace {

using testing::ElementsAre;
using testing::Field;

TEST(EarlyMounts, OnlyThoseThatTasksNeedBeforeSystemdMakesThem) {
  auto mounts = os::parse_mountinfo(
      "1 0 254:1 / / rw shared:1 - ext4 /dev/vda1 rw\n"
      "2 1 0:20 / /proc rw - proc proc rw\n"
      "3 1 0:21 / /dev/pts rw,nosuid - devpts devpts rw,gid=5,mode=620\n"
      "4 1 0:22 / /run rw,nosuid,nodev - tmpfs tmpfs rw,size=100k,mode=755\n"
      "5 4 0:23 / /run/user/0 rw - tmpfs tmpfs rw\n"
      "7 5 0:40 / /dev/hugepages rw - hugetlbfs hugetlbfs rw,pagesize=2M\n"
      "6 1 254:2 / /tmp rw - ext4 /dev/vda2 rw\n");
  ASSERT_TRUE(mounts);
  EXPECT_THAT(early_mounts(*mounts), ElementsAre(Field(&EarlyMount::mount_point, "/dev/pts"),
                                                 Field(&EarlyMount::mount_point, "/run"),
                                                 Field(&EarlyMount::mount_point, "/dev/hugepages")));
  EXPECT_EQ(early_mounts(*mounts)[0].options, "rw,nosuid,rw,gid=5,mode=620");
}

}  // namespace
}  // namespace upkeep::machine
