// Sessions and process groups cannot be given, only made, left and inherited: each process has to be made by
// one that is in the right session at that time.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>

#include "engine/tree/births.h"

namespace upkeep::engine {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

Process process(std::int32_t pid, std::int32_t ppid, std::int32_t session, std::int32_t group = 0) {
  Process result;
  result.pid = pid;
  result.ppid = ppid;
  result.pgrp = group != 0 ? group : session;
  result.session = session;
  return result;
}

Snapshot tree(std::vector<Process> processes) {
  Snapshot snapshot;
  snapshot.processes = std::move(processes);
  return snapshot;
}

struct Task {
  std::int32_t ppid = 0, session = 0, pgrp = 0;
  bool adopts = false, ended = false;
};

// What the kernel does, as far as it matters here; 0 is whoever rebuilds.
class Machine {
 public:
  std::map<std::int32_t, Task> tasks;
  std::vector<std::string> complaints;

  void fork(std::int32_t parent, std::int32_t pid) {
    if (parent != 0 && !tasks.contains(parent)) complain("{} is not there to make {}", parent, pid);
    if (is_taken(pid)) complain("{} is taken", pid);
    const auto maker = parent == 0 ? Task{} : tasks[parent];
    tasks[pid] = {parent, maker.session, maker.pgrp};
  }
  bool may_setsid(std::int32_t pid) {
    return std::ranges::none_of(tasks, [pid](const auto& t) { return t.second.pgrp == pid; });
  }
  void setsid(std::int32_t pid) {
    if (!may_setsid(pid)) complain("{} cannot setsid", pid);
    tasks[pid].session = tasks[pid].pgrp = pid;
  }
  bool may_setpgid(std::int32_t pid, std::int32_t group) {
    const auto& task = tasks[pid];
    if (task.session == pid) return false;
    return group == pid || std::ranges::any_of(tasks, [&](const auto& t) {
             return t.second.pgrp == group && t.second.session == task.session;
           });
  }
  void setpgid(std::int32_t pid, std::int32_t group) {
    if (!may_setpgid(pid, group)) complain("{} cannot join {}", pid, group);
    tasks[pid].pgrp = group;
  }
  void end(std::int32_t pid) {
    auto adopter = tasks[pid].ppid;
    while (adopter != 0 && !tasks[adopter].adopts) adopter = tasks[adopter].ppid;
    tasks.erase(pid);
    for (auto& [id, task] : tasks) {
      if (task.ppid == pid) task.ppid = adopter;
    }
  }
  bool is_taken(std::int32_t id) const {
    return tasks.contains(id) || std::ranges::any_of(tasks, [id](const auto& t) {
             return t.second.session == id || t.second.pgrp == id;
           });
  }

 private:
  template <typename... Args>
  void complain(fmt::format_string<Args...> format, Args&&... args) {
    complaints.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
};

class Rebuilding {
 public:
  Rebuilding(const Snapshot& snapshot, const Births& births) : snapshot_(snapshot), births_(births) {
    for (const auto* root : births.roots) machine_.fork(0, root->pid);
    for (const auto& step : births.steps) {
      if (const auto* birth = std::get_if<Birth>(&step))
        run(*birth);
      else
        run(std::get<StandIn>(step));
    }
    set_groups();
  }
  const Machine& machine() const { return machine_; }

 private:
  void run(const Birth& birth) {
    const auto pid = birth.process->pid;
    for (const auto* child : birth.before_setsid) machine_.fork(pid, child->pid);
    if (birth.process->session == pid) machine_.setsid(pid);
    for (const auto* child : birth.after_setsid) machine_.fork(pid, child->pid);
  }
  void run(const StandIn& wanted) {
    const auto id = wanted.leads ? wanted.session : 1'000'000;
    machine_.fork(wanted.maker == nullptr ? 0 : wanted.maker->pid, id);
    if (wanted.leads) machine_.setsid(id);
    for (const auto* child : wanted.children) machine_.fork(id, child->pid);
    if (wanted.adopter != nullptr) machine_.tasks[wanted.adopter->pid].adopts = true;
    machine_.end(id);
    if (wanted.adopter != nullptr) machine_.tasks[wanted.adopter->pid].adopts = false;
  }
  void set_groups() {
    for (const auto& group : births_.lost_groups) {
      machine_.fork(group.maker->pid, group.id);
      machine_.setpgid(group.id, group.id);
    }
    const std::set<const Process*> leavers(births_.left_groups.begin(), births_.left_groups.end());
    for (const auto& p : snapshot_.processes) {
      if ((p.pgrp == p.pid || leavers.contains(&p)) && p.session != p.pid) machine_.setpgid(p.pid, p.pid);
    }
    for (const auto& p : snapshot_.processes) {
      if (p.pgrp != p.pid && !leavers.contains(&p)) machine_.setpgid(p.pid, p.pgrp);
    }
    for (const auto* leaver : leavers) machine_.setpgid(leaver->pid, leaver->pgrp);
    for (const auto& group : births_.lost_groups) machine_.end(group.id);
  }

  const Snapshot& snapshot_;
  const Births& births_;
  Machine machine_;
};

// Empty: the plan makes what was there.
std::string flaw_of(const Snapshot& snapshot, const Births& births) {
  const Rebuilding rebuilding(snapshot, births);
  const auto& machine = rebuilding.machine();
  if (!machine.complaints.empty()) return machine.complaints.front();
  if (machine.tasks.size() != snapshot.processes.size()) return "somebody is left, or missing";
  for (const auto& wanted : snapshot.processes) {
    const auto& made = machine.tasks.at(wanted.pid);
    const auto parent = snapshot.find(wanted.ppid) == nullptr ? 0 : wanted.ppid;
    if (made.ppid != parent) return fmt::format("{} is a child of {}", wanted.pid, made.ppid);
    if (made.session != wanted.session) return fmt::format("{} is in session {}", wanted.pid, made.session);
    if (made.pgrp != wanted.pgrp) return fmt::format("{} is in group {}", wanted.pid, made.pgrp);
  }
  return "";
}

std::string outcome(const Snapshot& snapshot) {
  const auto births = plan_births(snapshot);
  if (births) return flaw_of(snapshot, *births);
  const auto& obstacle = births.error();
  return fmt::format("process {}, {}: {}", obstacle.pid, obstacle.what, obstacle.why);
}

std::set<std::int32_t> stand_ins(const Snapshot& snapshot) {
  const auto births = plan_births(snapshot);
  return births ? births->stand_in_ids() : std::set<std::int32_t>{-1};
}

TEST(Births, OfWhatALivingLeaderHasMade) {
  const auto children = tree({process(10, 1, 10), process(11, 10, 10), process(12, 10, 12)});
  EXPECT_EQ(outcome(children), "");
  EXPECT_TRUE(stand_ins(children).empty());
  // 11 has made 12 and then a session of its own; the same across a generation.
  EXPECT_EQ(
      outcome(tree({process(10, 1, 10), process(11, 10, 11), process(12, 11, 10), process(13, 11, 11)})), "");
  EXPECT_EQ(
      outcome(tree({process(10, 1, 10), process(11, 10, 11), process(12, 11, 12), process(13, 12, 10)})), "");
}

TEST(Births, OfADaemonWhoseLeaderHasEnded) {
  const auto snapshot = tree({process(10, 1, 9), process(11, 10, 9), process(12, 11, 12)});
  EXPECT_EQ(outcome(snapshot), "");
  EXPECT_EQ(stand_ins(snapshot), std::set<std::int32_t>{9});
}

TEST(Births, OfSeveralRootsInOneSession) {
  EXPECT_EQ(outcome(tree({process(10, 1, 9), process(11, 1, 9, 8), process(12, 1, 9, 8)})), "");
  // Its leader is there: children of children that have ended.
  const auto snapshot = tree({process(10, 1, 10), process(11, 1, 10), process(12, 1, 10)});
  EXPECT_EQ(outcome(snapshot), "");
  EXPECT_TRUE(stand_ins(snapshot).empty());
}

TEST(Births, OfThoseThatASubreaperHasAdopted) {
  EXPECT_EQ(outcome(tree({process(10, 1, 10), process(11, 10, 9), process(12, 11, 9), process(13, 10, 9)})),
            "");
  EXPECT_EQ(
      outcome(tree({process(10, 1, 10), process(11, 10, 10), process(12, 11, 12), process(13, 10, 12)})), "");
  // From two sessions that have ended, and one that was its own before it made another.
  EXPECT_EQ(outcome(tree({process(10, 1, 10), process(11, 10, 11), process(12, 11, 10), process(13, 11, 8),
                          process(14, 11, 7)})),
            "");
}

TEST(Births, WithGroupsWhoseLeadersHaveEndedOrLeft) {
  const auto lost = tree({process(10, 1, 10), process(11, 10, 10, 8), process(12, 10, 10, 8)});
  EXPECT_EQ(outcome(lost), "");
  EXPECT_EQ(stand_ins(lost), std::set<std::int32_t>{8});
  EXPECT_EQ(outcome(tree({process(10, 1, 10), process(11, 10, 10), process(12, 10, 10, 11)})), "");
  EXPECT_EQ(
      outcome(tree({process(10, 1, 9), process(11, 1, 9, 10), process(12, 1, 9, 8), process(13, 1, 9)})), "");
}

TEST(Births, InTheForegroundEvenWhereAllHaveEnded) {
  auto snapshot = tree({process(10, 1, 10), process(11, 10, 10, 11)});
  snapshot.processes[0].terminal = 5;
  snapshot.terminals.resize(1);
  auto& terminal = snapshot.terminals[0];
  terminal.device = 5, terminal.session = 10, terminal.foreground = 8;
  EXPECT_EQ(stand_ins(snapshot), std::set<std::int32_t>{8});
  terminal.foreground = 11;
  EXPECT_TRUE(stand_ins(snapshot).empty());
  snapshot.processes.push_back(process(12, 10, 10, 11));
  terminal.foreground = 12;
  EXPECT_THAT(outcome(snapshot), HasSubstr("its foreground process group 12 is none of its session"));
}

TEST(Births, WhatCannotBeMadeIsNamed) {
  auto refused = [](std::vector<Process> processes) { return outcome(tree(std::move(processes))); };
  EXPECT_EQ(refused({process(10, 1, 10), process(11, 10, 10), process(12, 11, 9), process(13, 10, 9)}),
            "process 12, session 9: its leader has ended, and its members have several parents");
  EXPECT_EQ(refused({process(10, 1, 10), process(11, 10, 10), process(12, 10, 11)}),
            "process 12, session 11: process 11 does not lead it");
  EXPECT_EQ(refused({process(10, 1, 10), process(11, 10, 10), process(12, 10, 12), process(13, 11, 12)}),
            "process 13, session 12: it cannot have come from its parent, process 11");
  EXPECT_EQ(refused({process(10, 1, 9), process(11, 1, 11, 9)}),
            "process 11, process group 9: who leads a session is in the group of that ID");
  EXPECT_EQ(refused({process(10, 1, 10), process(11, 10, 10, 8), process(12, 1, 12), process(13, 12, 12, 8)}),
            "process 13, process group 8: process 11, which is in it too, is in another session");
  EXPECT_EQ(refused({process(10, 1, 10), process(11, 10, 10, 9), process(12, 1, 9, 12)}),
            "process 11, process group 9: the ID 9 belongs to another session");
  EXPECT_THAT(refused({process(10, 1, 10), process(11, 10, 10, 12), process(12, 10, 10, 11)}),
              HasSubstr("all in it lead groups that they are not in"));
  // Each has adopted the other one's leader.
  EXPECT_THAT(refused({process(10, 1, 10), process(11, 10, 11), process(12, 11, 14), process(13, 10, 14),
                       process(14, 12, 14)}),
              AnyOf(HasSubstr("cannot have come from"), HasSubstr("no order of calls")));
  auto lost = tree({process(10, 20, 10), process(20, 10, 20)});
  EXPECT_THAT(outcome(lost), HasSubstr("no order of calls brings it there"));
}

// Which keyring a process begins with.
TEST(Births, ByWayOfAZombie) {
  auto snapshot = tree({process(10, 1, 10), process(11, 10, 11), process(12, 10, 11), process(13, 1, 9)});
  snapshot.processes[1].exit_status = 0;
  const auto births = plan_births(snapshot);
  ASSERT_TRUE(births);
  EXPECT_EQ(births->maker_of(snapshot.processes[2]), &snapshot.processes[0]);
  EXPECT_EQ(births->maker_of(snapshot.processes[3]), nullptr);
}

// The state that a machine is in after a while, of which some processes are roots, and some have ended.
class History {
 public:
  explicit History(std::uint64_t seed) : random_(seed) {
    for (const std::int32_t pid : {100, 101}) machine_.fork(0, pid), machine_.setsid(pid);
    for (int i = 0; i < 60; ++i) step();
  }
  Snapshot snapshot() const {
    Snapshot result;
    add_children(0, result);
    return result;
  }

 private:
  std::int32_t any() {
    return std::next(machine_.tasks.begin(), static_cast<std::ptrdiff_t>(random_() % machine_.tasks.size()))
        ->first;
  }
  void step() {
    const auto pid = any(), other = any();
    switch (random_() % 8) {
      case 0:
        if (machine_.may_setsid(pid)) machine_.setsid(pid);
        break;
      case 1:
        if (machine_.may_setpgid(pid, pid)) machine_.setpgid(pid, pid);
        break;
      case 2:
        if (machine_.may_setpgid(pid, machine_.tasks[other].pgrp))
          machine_.setpgid(pid, machine_.tasks[other].pgrp);
        break;
      case 3:
        machine_.tasks[pid].adopts = random_() % 3 != 0;
        break;
      case 4:
        if (machine_.tasks.size() > 3) machine_.end(pid);
        break;
      default:
        machine_.fork(pid, next_++);
    }
  }
  void add_children(std::int32_t parent, Snapshot& snapshot) const {
    for (const auto& [pid, task] : machine_.tasks) {
      if (task.ppid != parent) continue;
      snapshot.processes.push_back(process(pid, parent == 0 ? 1 : parent, task.session, task.pgrp));
      add_children(pid, snapshot);
    }
  }

  std::mt19937_64 random_;
  Machine machine_;
  std::int32_t next_ = 110;
};

TEST(Births, OfWhateverCanHaveHappened) {
  constexpr int kRounds = 3000;
  int refused = 0;
  for (int seed = 0; seed < kRounds; ++seed) {
    const auto snapshot = History(static_cast<std::uint64_t>(seed)).snapshot();
    const auto said = outcome(snapshot);
    if (said.empty()) continue;
    ASSERT_THAT(said, AnyOf(HasSubstr("have several parents"), HasSubstr("groups that they are not in")))
        << "seed " << seed;
    ++refused;
  }
  EXPECT_LT(refused, kRounds / 20);
}

// A chain of leaders, each with a child that it has made before, and one that it has adopted: whoever asks
// for all that is above takes sixteen times as long for four times as many.
double seconds_for(std::int32_t leaders) {
  Snapshot snapshot;
  snapshot.processes.reserve(3 * static_cast<std::size_t>(leaders));
  for (std::int32_t i = 0; i < leaders; ++i) {
    const auto pid = 10 + 3 * i;
    snapshot.processes.push_back(process(pid, i == 0 ? 1 : pid - 3, pid));
    snapshot.processes.push_back(process(pid + 1, pid, i == 0 ? pid : pid - 3));
    snapshot.processes.push_back(process(pid + 2, pid, 10 + 3 * (leaders - 1)));
  }
  double least = 1e9;
  for (int round = 0; round < 5; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(plan_births(snapshot));
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return least;
}

TEST(Births, TakeTimeAsTheirNumber) { EXPECT_LT(seconds_for(12'000), 10 * seconds_for(3'000)); }

}  // namespace
}  // namespace upkeep::engine
