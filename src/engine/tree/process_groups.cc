#include "engine/tree/process_groups.h"

#include <map>

namespace upkeep::engine {
namespace {

Obstacle in_its_group(const Process& process, std::int32_t group, std::string why) {
  return {process.pid, fmt::format("process group {}", group), std::move(why), "restart it"};
}

// Groups by their IDs, with one process each that is in them.
using Members = std::map<std::int32_t, const Process*>;

std::optional<Obstacle> add_members(const Snapshot& snapshot, Members& members) {
  for (const auto& process : snapshot.processes) {
    if (process.session == process.pid && process.pgrp != process.pid)
      return in_its_group(process, process.pgrp, "who leads a session is in the group of that ID");
    const auto [first, is_new] = members.emplace(process.pgrp, &process);
    if (first->second->session != process.session)
      return in_its_group(
          process, process.pgrp,
          fmt::format("process {}, which is in it too, is in another session", first->second->pid));
  }
  return {};
}

// All in the foreground may have ended: then the leader of the session makes the group.
std::optional<Obstacle> add_foregrounds(const Snapshot& snapshot, Members& members) {
  for (const auto& terminal : snapshot.terminals) {
    const auto* leader = snapshot.find(terminal.session);
    if (leader == nullptr || leader->terminal != terminal.device || terminal.foreground == 0) continue;
    const auto [first, is_new] = members.emplace(terminal.foreground, leader);
    if (first->second->session != terminal.session ||
        (is_new && snapshot.find(terminal.foreground) != nullptr))
      return Obstacle{
          leader->pid, "terminal " + terminal.path,
          fmt::format("its foreground process group {} is none of its session", terminal.foreground),
          "try again"};
  }
  return {};
}

// One that has left its group joins another one last, where somebody has to be by then.
std::optional<Obstacle> look_at_leavers(const Snapshot& snapshot, const Births& births) {
  const std::set<const Process*> leavers(births.left_groups.begin(), births.left_groups.end());
  std::set<std::int32_t> there;
  for (const auto& group : births.lost_groups) there.insert(group.id);
  for (const auto& process : snapshot.processes) {
    if (!leavers.contains(&process)) there.insert(process.pgrp);
  }
  for (const auto* leaver : births.left_groups) {
    if (!there.contains(leaver->pgrp))
      return in_its_group(*leaver, leaver->pgrp, "all in it lead groups that they are not in");
  }
  return {};
}

}  // namespace

std::optional<Obstacle> plan_groups(const Snapshot& snapshot, Births& births) {
  Members members;
  if (auto obstacle = add_members(snapshot, members)) return obstacle;
  if (auto obstacle = add_foregrounds(snapshot, members)) return obstacle;
  std::set<std::int32_t> sessions;
  for (const auto& process : snapshot.processes) sessions.insert(process.session);
  for (const auto& [id, member] : members) {
    if (id == member->session) continue;  // they are born into it
    const auto* leader = snapshot.find(id);
    if (leader == nullptr ? sessions.contains(id) : leader->session != member->session)
      return in_its_group(*member, id, fmt::format("the ID {} belongs to another session", id));
    if (leader == nullptr)
      births.lost_groups.push_back({id, member});
    else if (leader->pgrp != id)
      births.left_groups.push_back(leader);
  }
  return look_at_leavers(snapshot, births);
}

}  // namespace upkeep::engine
