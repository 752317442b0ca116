#include "machine/machine.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

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

// As postgres does, whose socket is /var/run/postgresql/.s.PGSQL.5432.
TEST(TemporaryFolders, OfASocketWhoseNameLeadsThroughALink) {
  std::string pattern = "/tmp/upkeep-socket-XXXXXX";
  const std::string folder = mkdtemp(pattern.data());
  std::filesystem::create_directory(folder + "/run");
  std::filesystem::create_symlink("run", folder + "/link");
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder + "/link/socket").c_str(), sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  auto mounts = os::parse_mountinfo(
      "1 0 254:1 / / rw - ext4 /dev/vda1 rw\n"
      "2 1 0:22 / " +
      folder + "/run rw - tmpfs tmpfs rw\n");
  const auto folders = temporary_folders({getpid()}, *mounts);
  close(fd);
  std::filesystem::remove_all(folder);
  EXPECT_THAT(folders, ElementsAre(folder + "/run"));
}

}  // namespace
}  // namespace upkeep::machine
