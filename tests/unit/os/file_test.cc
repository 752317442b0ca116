#include "os/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include "../../test_directory.h"

namespace upkeep::os {
namespace {

class FileTest : public testing::Test {
 protected:
  TestDirectory test_;
  const std::string& directory_ = test_.path();
};

TEST_F(FileTest, ReplaceIsWholeAndLeavesNothingBeside) {
  const std::string path = directory_ + "/journal";
  ASSERT_TRUE(replace_file(path, "one"));
  ASSERT_TRUE(replace_file(path, "two"));
  EXPECT_EQ(read_file(path).value(), "two");
  EXPECT_THAT(list_directory(directory_).value(), testing::ElementsAre("journal"));
  struct stat st = {};
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0600U);
}

TEST_F(FileTest, ErrorsNameThePath) {
  auto missing = read_file(directory_ + "/missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), ENOENT);
  EXPECT_THAT(missing.error().message(), testing::HasSubstr("/missing"));
}

TEST_F(FileTest, DirectoriesAreMadeAndRemoved) {
  ASSERT_TRUE(make_directories(directory_ + "/a/b/c"));
  ASSERT_TRUE(make_directories(directory_ + "/a/b/c"));
  EXPECT_TRUE(exists(directory_ + "/a/b/c"));
  ASSERT_TRUE(remove_tree(directory_ + "/a"));
  ASSERT_TRUE(remove_tree(directory_ + "/a"));
  EXPECT_FALSE(exists(directory_ + "/a"));
}

TEST_F(FileTest, ShortFileIsAnErrorForPread) {
  ASSERT_TRUE(replace_file(directory_ + "/x", "abc"));
  auto fd = open_file(directory_ + "/x", O_RDONLY);
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
