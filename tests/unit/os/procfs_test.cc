#include "os/procfs.h"

#include <gmock/gmock.h>
#include <unistd.h>

namespace upkeep::os {
namespace {

using testing::ElementsAre;

TEST(ProcStat, NameMayHoldAnything) {
  auto stat = parse_stat("42 (a) b) (c) S 1 42 41 34816 42 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 9 10\n");
  ASSERT_TRUE(stat) << stat.error().message();
  EXPECT_EQ(stat->pid, 42);
  EXPECT_EQ(stat->comm, "a) b) (c");
  EXPECT_EQ(stat->state, 'S');
  EXPECT_EQ(stat->ppid, 1);
  EXPECT_EQ(stat->session, 41);
  EXPECT_EQ(stat->tty_nr, 34816);
  EXPECT_EQ(stat->start_time, 777U);
  EXPECT_FALSE(stat->kernel_thread());
}

TEST(ProcStat, RefusesRubbish) {
  EXPECT_FALSE(parse_stat(""));
  EXPECT_FALSE(parse_stat("42 (x"));
  EXPECT_FALSE(parse_stat(") 42 ("));
  EXPECT_FALSE(parse_stat("42 (x) S 1 2"));
  EXPECT_FALSE(parse_stat("x (x) S 1 42 41 34816 42 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777"));
}

TEST(MountInfo, EscapesAndOptionalFields) {
  auto mounts = parse_mountinfo(
      "25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n"
      "30 25 0:25 / /mnt/with\\040space rw,nosuid shared:2 master:1 - tmpfs tmpfs rw,size=1024k\n"
      "31 25 0:26 / /run rw - tmpfs tmpfs rw\n");
  ASSERT_TRUE(mounts) << mounts.error().message();
  ASSERT_EQ(mounts->size(), 3U);
  EXPECT_EQ((*mounts)[0].fs_type, "ext4");
  EXPECT_EQ((*mounts)[0].major, 254U);
  EXPECT_EQ((*mounts)[0].super_options, "rw,errors=remount-ro");
  EXPECT_EQ((*mounts)[1].mount_point, "/mnt/with space");
  EXPECT_EQ((*mounts)[1].shared, 2);
  EXPECT_EQ((*mounts)[1].master, 1);
  EXPECT_EQ((*mounts)[2].shared, 0);
  EXPECT_EQ(mount_of(*mounts, "/run/redis/x")->mount_point, "/run");
  EXPECT_EQ(mount_of(*mounts, "/runner")->mount_point, "/");
}

// As systemd leaves it: a folder is hidden, and what comes to be mounted below it in the host later is hidden
// too. What is mounted twice at one place shows the last.
TEST(MountInfo, WhatLiesOnTopIsFound) {
  auto mounts = parse_mountinfo(
      "136 51 254:1 / / ro master:1 - ext4 /dev/vda1 rw\n"
      "154 136 0:26 / /run ro master:11 - tmpfs tmpfs rw\n"
      "138 136 0:30 / /misc rw master:12 - autofs systemd-1 rw\n"
      "139 138 0:38 / /misc rw master:45 - binfmt_misc binfmt_misc rw\n"
      "156 154 0:26 /none /run/credentials ro master:11 - tmpfs tmpfs rw\n"
      "212 154 0:42 / /run/credentials/getty ro master:139 - tmpfs tmpfs rw\n");
  ASSERT_TRUE(mounts) << mounts.error().message();
  auto found = [&](const char* path) { return mount_of(*mounts, path)->id; };
  EXPECT_EQ(found("/"), 136);
  EXPECT_EQ(found("/home"), 136);
  EXPECT_EQ(found("/run"), 154);
  EXPECT_EQ(found("/run/x/y"), 154);
  EXPECT_EQ(found("/misc"), 139);
  EXPECT_EQ(found("/misc/x"), 139);
  EXPECT_EQ(found("/run/credentials"), 156);
  EXPECT_EQ(found("/run/credentials/getty"), 156);
  EXPECT_EQ(found("/run/credentials/getty/x"), 156);
}

// Where the root folder is not a mount point, its mount is not listed.
TEST(MountInfo, BelowAnotherRoot) {
  auto mounts =
      parse_mountinfo("30 25 0:25 / /proc rw - proc proc rw\n31 30 0:26 / /proc/x rw - tmpfs tmpfs rw\n");
  ASSERT_TRUE(mounts);
  EXPECT_EQ(mount_of(*mounts, "/etc"), nullptr);
  EXPECT_EQ(mount_of(*mounts, "/proc/1")->id, 30);
  EXPECT_EQ(mount_of(*mounts, "/proc/x/y")->id, 31);
}

TEST(MountInfo, RefusesRubbish) {
  EXPECT_FALSE(parse_mountinfo("25 1 254:1 / / rw - ext4\n"));
  EXPECT_FALSE(parse_mountinfo("25 1 254 / / rw shared:1 - ext4 /dev/vda1 rw\n"));
}

TEST(Cgroup, VersionTwoIsPicked) {
  EXPECT_EQ(parse_cgroup("1:name=systemd:/x\n0::/system.slice/nginx.service\n").value(),
            "/system.slice/nginx.service");
  EXPECT_FALSE(parse_cgroup("1:name=systemd:/x\n"));
}

TEST(KeyValues, StatusLines) {
  auto values = parse_key_values("Name:\tcat\nSeccomp_filters:\t3\nempty:\nno colon\n");
  EXPECT_EQ(values["Name"], "cat");
  EXPECT_EQ(values["Seccomp_filters"], "3");
  EXPECT_EQ(values["empty"], "");
  EXPECT_EQ(values.size(), 3U);
}

TEST(ProcessTree, FindsOwnChild) {
  pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  auto tree = process_tree(getpid());
  kill(child, SIGKILL);
  ASSERT_TRUE(tree);
  EXPECT_THAT(*tree, ElementsAre(getpid(), child));
  EXPECT_FALSE(process_tree(2)) << "PID 2 is kthreadd";
}

}  // namespace
}  // namespace upkeep::os
