#include "machine/cgroups.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "os/file.h"

namespace upkeep::machine {
namespace {

engine::CarrySet example() {
  const std::string cgroup = "/system.slice/redis-server.service";
  engine::CarriedTask root{412, 1, 412, 412, {412, 415}, 9000, "redis-server", cgroup};
  engine::CarriedTask child{420, 412, 412, 412, {420}, 9100, "redis-rdb", cgroup};
  return {{{412, "/usr/bin/redis-server *:6379", "redis-server.service", {root, child}}}};
}

TEST(Cgroup, PutsTasksBack) {
  char name[] = "/tmp/upkeep-cgroup-XXXXXX";
  const std::string root = ::mkdtemp(name);
  ASSERT_TRUE(place_in_cgroups(example(), root));  // no hierarchy: nothing to do
  ASSERT_FALSE(os::exists(root + "/system.slice"));
  ASSERT_TRUE(os::replace_file(root + "/cgroup.procs", ""));
  // A directory is no cgroup: the file that tasks are written to does not come with it.
  auto placed = place_in_cgroups(example(), root);
  ASSERT_FALSE(placed);
  EXPECT_NE(
      placed.error().message().find("412 (redis-server) into cgroup /system.slice/redis-server.service"),
      std::string::npos)
      << placed.error().message();
  const std::string procs = root + "/system.slice/redis-server.service/cgroup.procs";
  ASSERT_TRUE(os::replace_file(procs, ""));
  ASSERT_TRUE(place_in_cgroups(example(), root));
  EXPECT_EQ(os::read_file(procs).value_or("").substr(0, 3), "420");
  auto hostile = example();
  hostile.trees[0].tasks[0].cgroup = "/../../etc";
  EXPECT_FALSE(place_in_cgroups(hostile, root));
  (void)os::remove_tree(root);
}

}  // namespace
}  // namespace upkeep::machine
