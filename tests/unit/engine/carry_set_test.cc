#include "engine/carry_set.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "os/child.h"
#include "os/file.h"

namespace upkeep::engine {
namespace {

CarrySet example() {
  CarriedTask root{412, 1, 412, 412, {412, 415}, 9000, "redis-server", "/system.slice/redis-server.service"};
  CarriedTask child{420, 412, 412, 412, {420}, 9100, "redis-rdb", "/system.slice/redis-server.service"};
  return {{{412, "/usr/bin/redis-server *:6379", "redis-server.service", {root, child}}}};
}

TEST(CarrySet, CrossesAsJson) {
  auto json = to_json(example());
  auto back = carry_set_from_json(nlohmann::json::parse(json.dump()));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(to_json(*back), json);
  EXPECT_EQ(back->pids(), (std::vector<pid_t>{412, 420}));
  EXPECT_EQ(back->trees[0].tasks[0].threads, (std::vector<pid_t>{412, 415}));
  EXPECT_EQ(back->highest_id(), 420);
  EXPECT_TRUE(back->contains(415));
  EXPECT_FALSE(back->contains(1));
}

TEST(CarrySet, NamesThatAreNoUtf8) {
  auto set = example();
  set.trees[0].tasks[0].comm = "a\xff\xfe\n";
  set.trees[0].command = "\x80";
  auto json = to_json(set);
  EXPECT_NO_THROW(json.dump());
  EXPECT_EQ(json["trees"][0]["tasks"][0]["comm"], "a???");
}

TEST(CarrySet, RefusesWhatIsNoCarrySet) {
  EXPECT_FALSE(carry_set_from_json({}));
  EXPECT_FALSE(carry_set_from_json({{"version", 2}, {"trees", nlohmann::json::array()}}));
  EXPECT_FALSE(carry_set_from_json({{"version", 1}, {"trees", 7}}));
  auto json = to_json(example());
  json["trees"][0]["tasks"][0]["pid"] = "x";
  EXPECT_FALSE(carry_set_from_json(json));
  json = to_json(example());
  json["trees"][0]["root"] = 5;  // does not begin with its root
  EXPECT_FALSE(carry_set_from_json(json));
  json["trees"][0]["tasks"] = nlohmann::json::array();
  EXPECT_FALSE(carry_set_from_json(json));
}

TEST(CarrySet, KnowsWhoLeads) {
  auto set = example();
  EXPECT_FALSE(set.trees[0].led_from_outside());
  set.trees[0].tasks[1].session = 300;
  EXPECT_TRUE(set.trees[0].led_from_outside());
}

TEST(CarrySet, Units) {
  EXPECT_EQ(unit_of_cgroup("/system.slice/nginx.service"), "nginx.service");
  EXPECT_EQ(unit_of_cgroup("/system.slice/system-postgresql.slice/postgresql@17-main.service/x"),
            "postgresql@17-main.service");
  EXPECT_EQ(unit_of_cgroup("/user.slice/user-0.slice/session-3.scope"), "");
  EXPECT_EQ(unit_of_cgroup("/"), "");
  EXPECT_EQ(unit_of_cgroup(".service"), "");
}

TEST(CarrySet, RefusesRootsThatCannotBe) {
  EXPECT_FALSE(collect({}));
  EXPECT_FALSE(collect({1}));
  EXPECT_FALSE(collect({0}));
  EXPECT_FALSE(collect({-5}));
  EXPECT_FALSE(collect({0x3fffffff}));
  auto own = collect({::getpid()});
  ASSERT_FALSE(own);
  EXPECT_NE(own.error().message().find("cannot stop itself"), std::string::npos) << own.error().message();
}

// A parent that waits and a child that does, until both are ended.
TEST(CarrySet, MergesRoots) {
  auto parent = os::fork_child([] {
    if (auto child = os::fork_child([] { return ::pause(); }))
      (void)os::wait_child(*child, std::chrono::minutes(1));
    return 0;
  });
  ASSERT_TRUE(parent);
  Result<CarrySet> set = Err("not yet");
  for (int i = 0; i < 2000 && (!set || set->pids().size() < 2); ++i) {
    set = collect({parent->pid});
    ::usleep(1000);
  }
  ASSERT_TRUE(set);
  ASSERT_EQ(set->pids().size(), 2U);
  const pid_t child = set->pids()[1];
  auto merged = collect({child, parent->pid, child, parent->pid});
  ASSERT_TRUE(merged) << merged.error().message();
  ASSERT_EQ(merged->trees.size(), 1U);
  EXPECT_EQ(merged->trees[0].root, parent->pid);
  ::kill(child, SIGKILL);
  ::kill(parent->pid, SIGKILL);
  (void)os::wait_child(*parent, std::chrono::seconds(10));
}

}  // namespace
}  // namespace upkeep::engine
