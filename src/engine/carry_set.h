#pragma once
// What is to cross: process trees, and what has to be known about each task to name it, find it again and put
// it back into its place. Part of the manifest, so both ways to JSON.

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace upkeep::engine {

struct CarriedTask {
  pid_t pid = 0;
  pid_t ppid = 0;
  pid_t session = 0;
  pid_t group = 0;
  std::vector<pid_t> threads;    // thread IDs, the leader's among them
  std::uint64_t start_time = 0;  // clock ticks after boot: tells a task from a later one with the same PID
  std::string comm;
  std::string cgroup;  // path in the version 2 hierarchy, "/" for the root one
  static void fields(auto& self, auto& visit) {
    visit("pid", self.pid);
    visit("ppid", self.ppid);
    visit("session", self.session);
    visit("group", self.group);
    visit("threads", self.threads);
    visit("start_time", self.start_time);
    visit("comm", self.comm);
    visit("cgroup", self.cgroup);
  }
};

struct CarriedTree {
  pid_t root = 0;
  std::string command;             // of the root, for people
  std::string unit;                // "redis-server.service" where the root's cgroup lies in one, else empty
  std::vector<CarriedTask> tasks;  // parents before children; the first one is the root

  // A task's session or process group is led by somebody outside the tree (a job started from a shell).
  bool led_from_outside() const;
  static void fields(auto& self, auto& visit) {
    visit("root", self.root);
    visit("command", self.command);
    visit("unit", self.unit);
    visit("tasks", self.tasks);
  }
};

struct CarrySet {
  std::vector<CarriedTree> trees;

  std::vector<pid_t> roots() const;
  std::vector<pid_t> pids() const;  // of all tasks
  bool contains(pid_t pid) const;   // a task's PID or a thread's ID
  pid_t highest_id() const;         // over tasks, threads, sessions and groups; 0 where there is nothing
  static void fields(auto& self, auto& visit) { visit("trees", self.trees); }
};

// The trees of ROOTS as they are now. Roots below other roots are merged into them, duplicates dropped; the
// order is kept. Refuses PID 1, kernel threads, PIDs that are not there, and trees that the caller itself is
// in.
Result<CarrySet> collect(const std::vector<pid_t>& roots);

// The systemd unit that a cgroup path lies in: "/system.slice/nginx.service/sub" -> "nginx.service"; scopes
// and slices are none. The escapes of systemd are left as they are.
std::string unit_of_cgroup(std::string_view cgroup);

// Names are bytes to the kernel and UTF-8 to JSON: whatever is not printable ASCII becomes '?'. A set that
// was read from JSON has such names; compare with names made alike.
std::string printable(const std::string& text);
nlohmann::json to_json(const CarrySet& set);
Result<CarrySet> carry_set_from_json(const nlohmann::json& json);

}  // namespace upkeep::engine
