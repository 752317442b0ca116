#include "initramfs/cpio.h"

#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/child.h"
#include "os/file.h"

namespace upkeep::initramfs {
namespace {

using testing::HasSubstr;

class Cpio : public testing::Test {
 protected:
  std::string written() {
    EXPECT_EQ(::lseek(file_.get(), 0, SEEK_SET), 0);
    return os::read_all(file_).value_or("?");
  }
  os::UniqueFd file_{::memfd_create("cpio", MFD_CLOEXEC)};
  CpioWriter cpio_{file_};
};

TEST_F(Cpio, BytesOfAnArchive) {
  ASSERT_TRUE(cpio_.add_directory("d"));
  ASSERT_TRUE(cpio_.add_file("/d/abc", "hello", 0755));
  ASSERT_TRUE(cpio_.finish());
  using namespace std::string_literals;
  // 110 bytes of header each: ino mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor
  // namesize check
  EXPECT_EQ(written(),
            "070701"
            "00000001"
            "000041ED"
            "00000000"
            "00000000"
            "00000002"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "00000002"
            "00000000"
            "d\0"
            "070701"
            "00000002"
            "000081ED"
            "00000000"
            "00000000"
            "00000001"
            "00000000"
            "00000005"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "00000006"
            "00000000"
            "d/abc\0"
            "hello\0\0\0"
            "070701"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "00000001"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "0000000B"
            "00000000"
            "TRAILER!!!\0\0\0\0"s);
  EXPECT_EQ(cpio_.size(), written().size());
}

TEST_F(Cpio, ListedByCpio) {
  ASSERT_TRUE(cpio_.add_directory("dev"));
  ASSERT_TRUE(cpio_.add_device("dev/console", S_IFCHR, 5, 1));
  ASSERT_TRUE(cpio_.add_device("dev/sda", S_IFBLK, 8, 300));
  ASSERT_TRUE(cpio_.add_directory("a"));
  for (std::size_t size = 0; size < 9; ++size)  // every padding of content and of name
    ASSERT_TRUE(cpio_.add_file("a/" + std::string(size + 1, 'f'), std::string(size, 'x')));
  ASSERT_TRUE(cpio_.finish());
  const auto listed =
      os::run_checked({"cpio", "-itv", "--quiet", "--numeric-uid-gid"},
                      {.timeout = std::chrono::seconds(10), .input = written(), .in_child = {}});
  ASSERT_TRUE(listed) << listed.error().message();
  std::vector<std::string> lines;
  for (std::size_t at = 0, end; (end = listed->find('\n', at)) != std::string::npos; at = end + 1)
    lines.push_back(listed->substr(at, end - at));
  ASSERT_EQ(lines.size(), 13U) << *listed;
  EXPECT_THAT(lines[0], testing::StartsWith("drwxr-xr-x   2 0 "));
  EXPECT_THAT(lines[1], testing::AllOf(testing::StartsWith("crw-------   1 0 "), HasSubstr("5,   1"),
                                       testing::EndsWith(" dev/console")));
  EXPECT_THAT(lines[2], testing::AllOf(testing::StartsWith("brw-------"), HasSubstr("8, 300")));
  EXPECT_THAT(lines[4], testing::AllOf(testing::StartsWith("-rw-r--r--"), HasSubstr(" 0 Jan  1  1970 a/f")));
  EXPECT_THAT(lines[12], HasSubstr(" 8 Jan  1  1970 a/fffffffff"));
}

TEST_F(Cpio, TwiceTheSame) {
  const auto make = [] {
    os::UniqueFd file(::memfd_create("cpio", MFD_CLOEXEC));
    CpioWriter cpio{os::Fd(file)};
    EXPECT_TRUE(cpio.add_directory("x") && cpio.add_file("x/y", "z") && cpio.finish());
    EXPECT_EQ(::lseek(file.get(), 0, SEEK_SET), 0);
    return *os::read_all(file);
  };
  EXPECT_EQ(make(), make());
}

TEST_F(Cpio, PathsThatAreNone) {
  for (const std::string_view path : {"", "/", ".", "..", "a//b", "a/", "./a", "a/../b", "//a", "TRAILER!!!"})
    EXPECT_FALSE(cpio_.add_directory(path)) << path;
  EXPECT_FALSE(cpio_.add_file(std::string_view("a\0b", 3), ""));
  EXPECT_FALSE(cpio_.add_file(std::string(5000, 'a'), ""));
  EXPECT_EQ(written(), "");
}

TEST_F(Cpio, FoldersFirstAndNothingTwice) {
  EXPECT_THAT(cpio_.add_file("a/b", "").error().message(), HasSubstr("before its directory"));
  ASSERT_TRUE(cpio_.add_file("a", ""));
  EXPECT_THAT(cpio_.add_file("a/b", "").error().message(),
              HasSubstr("before its directory"));  // a file is no directory
  EXPECT_THAT(cpio_.add_directory("/a").error().message(), HasSubstr("twice"));
  ASSERT_TRUE(cpio_.finish());
  EXPECT_FALSE(cpio_.add_file("c", ""));
  EXPECT_FALSE(cpio_.finish());
}

TEST_F(Cpio, OddEntries) { EXPECT_FALSE(cpio_.add_device("x", S_IFREG, 1, 1)); }

TEST(CpioOut, FullDeviceIsAnError) {
  auto full = os::open_file("/dev/full", 1 /* O_WRONLY */);
  ASSERT_TRUE(full);
  CpioWriter cpio{os::Fd(*full)};
  EXPECT_EQ(cpio.add_directory("a").error().code(), ENOSPC);
}

}  // namespace
}  // namespace upkeep::initramfs
