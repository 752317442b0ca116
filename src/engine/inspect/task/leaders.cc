#include "engine/inspect/task/leaders.h"

#include <unistd.h>

#include <map>

#include "os/procfs.h"

namespace upkeep::engine {
namespace {

constexpr const char* kCarryLeader = "carry that process too, or start this one with setsid";

// A session or process group, and who of the tree is in it.
struct Led {
  const char* kind;
  std::int32_t member;
};
using LedById = std::map<std::int32_t, Led>;

LedById led_from_elsewhere(const Snapshot& snapshot) {
  LedById led;
  auto add = [&](std::int32_t id, const char* kind, const Process& member) {
    if (snapshot.find(id) == nullptr) led.emplace(id, Led{kind, member.pid});
  };
  for (const auto& process : snapshot.processes) add(process.session, "session", process);
  for (const auto& process : snapshot.processes) add(process.pgrp, "process group", process);
  for (const auto& terminal : snapshot.terminals) {
    const auto* leader = snapshot.find(terminal.session);
    if (leader != nullptr && terminal.foreground != 0)
      add(terminal.foreground, "foreground process group", *leader);
  }
  return led;
}

// A zombie's ID is free as soon as its parent has waited for it.
bool has_ended(pid_t pid) {
  const auto stat = os::read_stat(pid);
  return !stat || stat->state == 'Z' || stat->state == 'X';
}

std::string named(pid_t pid) { return fmt::format("process {} ({})", pid, os::command_line(pid)); }

class LeaderLook {
 public:
  LeaderLook(const OutsideProcesses& outside, Snapshot& snapshot)
      : outside_(outside), snapshot_(snapshot), led_(led_from_elsewhere(snapshot)) {}

  bool finds_nothing() {
    const auto before = snapshot_.obstacles.size();
    for (auto led = led_.begin(); led != led_.end();) {
      const auto next = std::next(led);
      look_at_leader(led);
      led = next;
    }
    if (!led_.empty()) look_at_members();
    return snapshot_.obstacles.size() == before;
  }

 private:
  void refuse(LedById::iterator led, std::string why, const char* remedy) {
    const auto& [id, what] = *led;
    snapshot_.obstacles.push_back({what.member, fmt::format("{} {}", what.kind, id), std::move(why), remedy});
    led_.erase(led);  // said once
  }

  void look_at_leader(LedById::iterator led) {
    const auto id = led->first;
    if (id == 0)
      refuse(led, "its leader lives outside of our PID namespace", "start it with setsid");
    else if (!has_ended(id))
      refuse(led, fmt::format("its leader, {}, is not part of the tree", named(id)), kCarryLeader);
  }

  void look_at_members() {
    for (const pid_t pid : outside_) {
      for (const pid_t id : {::getsid(pid), ::getpgid(pid)}) {
        const auto led = led_.find(id);
        if (led == led_.end() || has_ended(pid)) continue;
        refuse(led,
               fmt::format("its leader has ended, and {}, which is not part of the tree, is in it too",
                           named(pid)),
               kCarryLeader);
      }
    }
  }

  const OutsideProcesses& outside_;
  Snapshot& snapshot_;
  LedById led_;
};

}  // namespace

bool look_at_leaders(const OutsideProcesses& outside, Snapshot& snapshot) {
  return LeaderLook(outside, snapshot).finds_nothing();
}

}  // namespace upkeep::engine
