#include "os/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include <filesystem>

namespace upkeep::os {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "upkeep-file-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { (void)remove_tree(folder_); }
  std::string folder_;
};

TEST_F(FileTest, ReplaceIsWholeAndLeavesNothingBeside) {
  const std::string path = folder_ + "/journal";
  ASSERT_TRUE(replace_file(path, "one"));
  ASSERT_TRUE(replace_file(path, "two"));
  EXPECT_EQ(read_file(path).value(), "two");
  EXPECT_THAT(list_directory(folder_).value(), testing::ElementsAre("journal"));
  struct stat st = {};
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0600U);
}

TEST_F(FileTest, ErrorsNameThePath) {
  auto missing = read_file(folder_ + "/missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), ENOENT);
  EXPECT_THAT(missing.error().message(), testing::HasSubstr("/missing"));
}

TEST_F(FileTest, DirectoriesAreMadeAndRemoved) {
  ASSERT_TRUE(make_directories(folder_ + "/a/b/c"));
  ASSERT_TRUE(make_directories(folder_ + "/a/b/c"));
  EXPECT_TRUE(exists(folder_ + "/a/b/c"));
  ASSERT_TRUE(remove_tree(folder_ + "/a"));
  ASSERT_TRUE(remove_tree(folder_ + "/a"));
  EXPECT_FALSE(exists(folder_ + "/a"));
}

TEST_F(FileTest, ShortFileIsAnErrorForPread) {
  ASSERT_TRUE(replace_file(folder_ + "/x", "abc"));
  auto fd = open_file(folder_ + "/x", O_RDONLY);
  ASSERT_TRUE(fd);
  std::byte bytes[4];
  EXPECT_FALSE(pread_all(*fd, bytes, 0));
  EXPECT_TRUE(pread_all(*fd, std::span(bytes).first(2), 1));
  EXPECT_EQ(bytes[0], std::byte{'b'});
}

TEST_F(FileTest, DescriptorIsClosedOnExec) {
  auto fd = open_file("/dev/null", O_RDONLY);
  ASSERT_TRUE(fd);
  EXPECT_NE(fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0);
}

}  // namespace
}  // namespace upkeep::os
