#include "engine/carry_set.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "common/json_fields.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

// A machine without a version 2 hierarchy has nothing to put back: "/".
std::string cgroup_or_root(pid_t pid) {
  auto cgroup = os::cgroup_of(pid);
  return cgroup ? *cgroup : "/";
}

Result<CarriedTask> describe(pid_t pid) {
  TRY_ASSIGN(auto stat, os::read_stat(pid));
  TRY_ASSIGN(auto threads, os::list_own_threads(pid));
  CarriedTask task;
  task.pid = pid;
  task.ppid = stat.ppid;
  task.session = stat.session;
  task.group = stat.pgrp;
  task.threads = std::move(threads);
  task.start_time = stat.start_time;
  task.comm = stat.comm;
  task.cgroup = cgroup_or_root(pid);
  return task;
}

// The caller and everybody above it: stopping one of them would stop upkeep itself.
Result<std::set<pid_t>> own_line() {
  std::set<pid_t> line;
  for (pid_t pid = ::getpid(); pid > 1;) {
    line.insert(pid);
    TRY_ASSIGN(auto stat, os::read_stat(pid));
    pid = stat.ppid;
  }
  return line;
}

Result<CarriedTree> collect_tree(pid_t root, const std::set<pid_t>& own) {
  TRY_ASSIGN(auto pids, os::process_tree(root));
  CarriedTree tree;
  tree.root = root;
  tree.command = os::command_line(root);
  for (pid_t pid : pids) {
    if (own.contains(pid)) {
      return Err(
          "{} ({}) is this program or started it: it cannot stop itself; start upkeep outside that tree",
          root, tree.command);
    }
    auto task = describe(pid);
    if (!task && pid != root) continue;  // ended meanwhile
    if (!task) return tl::unexpected(std::move(task).error());
    tree.tasks.push_back(std::move(*task));
  }
  tree.unit = unit_of_cgroup(tree.tasks.front().cgroup);
  return tree;
}

// What a set in a document begins with.
struct Version {
  int version = 0;
  static void fields(auto& self, auto& visit) { visit("version", self.version); }
};
constexpr int kVersion = 1;

}  // namespace

bool CarriedTree::led_from_outside() const {
  auto here = [this](pid_t pid) {
    return std::any_of(tasks.begin(), tasks.end(), [pid](const auto& task) { return task.pid == pid; });
  };
  return std::any_of(tasks.begin(), tasks.end(),
                     [&](const auto& task) { return !here(task.session) || !here(task.group); });
}

std::vector<pid_t> CarrySet::roots() const {
  std::vector<pid_t> result;
  for (const auto& tree : trees) result.push_back(tree.root);
  return result;
}

std::vector<pid_t> CarrySet::pids() const {
  std::vector<pid_t> result;
  for (const auto& tree : trees) {
    for (const auto& task : tree.tasks) result.push_back(task.pid);
  }
  return result;
}

bool CarrySet::contains(pid_t pid) const {
  for (const auto& tree : trees) {
    for (const auto& task : tree.tasks) {
      if (task.pid == pid || std::find(task.threads.begin(), task.threads.end(), pid) != task.threads.end())
        return true;
    }
  }
  return false;
}

pid_t CarrySet::highest_id() const {
  pid_t highest = 0;
  for (const auto& tree : trees) {
    for (const auto& task : tree.tasks) {
      highest = std::max({highest, task.pid, task.session, task.group});
      for (pid_t thread : task.threads) highest = std::max(highest, thread);
    }
  }
  return highest;
}

Result<CarrySet> collect(const std::vector<pid_t>& roots) {
  if (roots.empty()) return Err("nothing to carry: no PID given");
  TRY_ASSIGN(const auto own, own_line());
  CarrySet all;
  for (pid_t root : roots) {
    if (root == 1) return Err("PID 1 cannot be carried by this version");
    if (root < 1) return Err("{} is no PID", root);
    auto tree = collect_tree(root, own);
    if (!tree) return tl::unexpected(std::move(tree).error().in(fmt::format("PID {}", root)));
    all.trees.push_back(std::move(*tree));
  }
  CarrySet merged;
  for (auto& tree : all.trees) {
    auto covers = [&tree](const CarriedTree& other) {
      if (other.root == tree.root) return false;
      return std::any_of(other.tasks.begin(), other.tasks.end(),
                         [&](const auto& task) { return task.pid == tree.root; });
    };
    if (std::any_of(all.trees.begin(), all.trees.end(), covers)) continue;
    auto known = merged.roots();
    if (std::find(known.begin(), known.end(), tree.root) != known.end()) continue;
    merged.trees.push_back(tree);
  }
  return merged;
}

std::string unit_of_cgroup(std::string_view cgroup) {
  while (!cgroup.empty()) {
    auto slash = cgroup.find('/');
    auto part = cgroup.substr(0, slash);
    if (part.ends_with(".service") && part.size() > 8) return std::string(part);
    if (slash == std::string_view::npos) break;
    cgroup.remove_prefix(slash + 1);
  }
  return "";
}

std::string printable(const std::string& text) {
  std::string result;
  for (char c : text) result.push_back(c >= 0x20 && c < 0x7f ? c : '?');
  return result;
}

nlohmann::json to_json(const CarrySet& set) {
  auto printed = set;
  for (auto& tree : printed.trees) {
    tree.command = printable(tree.command);
    for (auto& task : tree.tasks) task.comm = printable(task.comm);
  }
  auto json = json_of(printed);
  json["version"] = kVersion;
  return json;
}

Result<CarrySet> carry_set_from_json(const nlohmann::json& json) {
  TRY_ASSIGN(const auto head, read_json<Version>(json, "carry set"));
  if (head.version != kVersion) return Err("carry set of an unknown version {}", head.version);
  TRY_ASSIGN(auto set, read_json<CarrySet>(json, "carry set"));
  for (const auto& tree : set.trees) {
    if (tree.tasks.empty() || tree.tasks.front().pid != tree.root)
      return Err("carry set: tree {} does not begin with its root", tree.root);
  }
  return set;
}

}  // namespace upkeep::engine
