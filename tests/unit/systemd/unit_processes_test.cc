#include "systemd/unit_processes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "../../test_directory.h"

namespace upkeep::systemd {
namespace {

using ::testing::HasSubstr;

// A hierarchy as /sys/fs/cgroup shows it.
class Unit : public ::testing::Test {
 protected:
  void group(const std::string& name, const std::string& processes) {
    test_.write(name + "/cgroup.procs", processes);
  }
  std::string error(const std::string& name) const {
    auto roots = roots_of_unit(name, path_);
    return roots ? "no error" : roots.error().message();
  }
  TestDirectory test_;
  const std::string& path_ = test_.path();
};

TEST_F(Unit, ProcessesWhoseParentsAreInItTooAreNoRoots) {
  group("", "1\n");
  group("/system.slice", "");
  group("/system.slice/cache.service", fmt::format("{}\n", ::getppid()));
  group("/system.slice/cache.service/workers", fmt::format("0\n{}\n", ::getpid()));
  auto roots = roots_of_unit("cache", path_);
  ASSERT_TRUE(roots) << roots.error().message();
  EXPECT_EQ(*roots, std::vector<pid_t>{::getppid()});
  EXPECT_TRUE(roots_of_unit("cache.service", path_));
  group("/system.slice/cache.service", "");
  EXPECT_EQ(roots_of_unit("cache", path_).value_or(std::vector<pid_t>()), std::vector<pid_t>{::getpid()});
}

TEST_F(Unit, WhatCannotBeToldIsRefused) {
  group("/system.slice/empty.service", "");
  group("/user.slice/a/twice.service", "1\n");
  group("/user.slice/b/twice.service", "1\n");
  EXPECT_THAT(error("absent"), HasSubstr("unit absent.service does not run"));
  EXPECT_THAT(error("empty"), HasSubstr("has no processes"));
  EXPECT_THAT(error("twice.service"), HasSubstr("runs more than once"));
  EXPECT_THAT(error("../empty"), HasSubstr("no name of a unit"));
  EXPECT_THAT(roots_of_unit("empty", "").error().message(), HasSubstr("no version 2 cgroup hierarchy"));
}

}  // namespace
}  // namespace upkeep::systemd
