#include "machine/temporary_files.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "../../test_directory.h"

namespace upkeep::machine {
namespace {

using testing::ElementsAre;

// As postgres does, whose socket is /var/run/postgresql/.s.PGSQL.5432.
TEST(TemporaryDirectories, OfASocketWhoseNameLeadsThroughALink) {
  const TestDirectory test;
  const std::string& directory = test.path();
  std::filesystem::create_directory(directory + "/run");
  std::filesystem::create_symlink("run", directory + "/link");
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (directory + "/link/socket").c_str(), sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  auto mounts = os::parse_mountinfo(
      "1 0 254:1 / / rw - ext4 /dev/vda1 rw\n"
      "2 1 0:22 / " +
      directory + "/run rw - tmpfs tmpfs rw\n");
  const auto directories = temporary_directories({getpid()}, *mounts);
  close(fd);
  EXPECT_THAT(directories, ElementsAre(directory + "/run"));
}

}  // namespace
}  // namespace upkeep::machine
