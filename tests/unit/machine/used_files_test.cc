#include "machine/used_files.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>

namespace upkeep::machine {
namespace {

TEST(Files, OnAnotherFileSystemAreNamed) {
  char name[] = "/tmp/upkeep-files-XXXXXX";
  int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  auto mounts = os::parse_mountinfo(
      "1 0 254:1 / / rw - ext4 /dev/vda1 rw\n"
      "2 1 254:2 / /tmp rw - ext4 /dev/vdb1 rw\n");
  auto findings = check_files({getpid()}, *mounts);
  close(fd);
  unlink(name);
  ASSERT_EQ(findings.size(), 1U) << "a mount is named once, however many files are on it";
  EXPECT_EQ(findings[0].severity, Finding::Severity::refusal);
  EXPECT_THAT(findings[0].why, testing::HasSubstr("/tmp"));
}

// They come back where systemd mounts them, and nowhere else.
TEST(Files, OfAHugePagePoolAreNamed) {
  char name[] = "/tmp/upkeep-files-XXXXXX";
  int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  auto mounts = os::parse_mountinfo(
      "1 0 254:1 / / rw - ext4 /dev/vda1 rw\n"
      "2 1 0:40 / /tmp rw - hugetlbfs hugetlbfs rw,pagesize=2M\n");
  auto findings = check_files({getpid()}, *mounts);
  close(fd);
  unlink(name);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_THAT(findings[0].why, testing::HasSubstr("hugetlbfs"));
}

}  // namespace
}  // namespace upkeep::machine
