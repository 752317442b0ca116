#include "engine/tree/inner_ids.h"

#include <algorithm>
#include <unordered_set>

namespace upkeep::engine {

std::int32_t seen_by(const Process& viewer, std::int32_t outer, const std::vector<std::int32_t>& inner) {
  const auto depth = depth_of(viewer);
  if (depth == 0) return outer;
  return depth <= inner.size() ? inner[depth - 1] : 0;
}

std::vector<std::int32_t> wanted_ids(std::int32_t outer, const std::vector<std::int32_t>& inner) {
  std::vector<std::int32_t> ids(inner.rbegin(), inner.rend());
  ids.push_back(outer);
  return ids;
}

std::int32_t group_seen_by(const Process& viewer, const Snapshot& snapshot, std::int32_t outer) {
  if (depth_of(viewer) == 0) return outer;
  for (const auto& process : snapshot.processes) {
    if (process.pgrp != outer) continue;
    if (const auto group = seen_by(viewer, outer, process.inner_pgrps); group != 0) return group;
  }
  return 0;
}

const Process* init_of(const Snapshot& snapshot, std::uint64_t pid_namespace) {
  if (pid_namespace == 0) return nullptr;
  const auto init = std::ranges::find_if(snapshot.processes, [&](const Process& process) {
    return process.pid_namespace == pid_namespace && is_init(process);
  });
  return init == snapshot.processes.end() ? nullptr : &*init;
}

bool enters_namespace(const Process& parent, const Process& child) {
  return depth_of(child) > depth_of(parent);
}

bool makes_group_first(const Process& process, bool children_in_namespaces) {
  return children_in_namespaces && process.pgrp == process.pid && process.session != process.pid;
}

std::vector<std::int32_t> groups_at_birth(const Snapshot& snapshot) {
  std::unordered_set<const Process*> makers;  // of namespaces
  for (const auto& process : snapshot.processes) {
    const auto* parent = depth_of(process) == 0 ? nullptr : snapshot.find(process.ppid);
    if (parent != nullptr && enters_namespace(*parent, process)) makers.insert(parent);
  }
  std::vector<std::int32_t> groups;
  groups.reserve(snapshot.processes.size());
  for (const auto& process : snapshot.processes) {
    const auto* parent = snapshot.find(process.ppid);
    if (parent == nullptr || parent >= &process) {
      groups.push_back(process.session == process.pid ? 0 : process.session);
      continue;
    }
    const bool leads = parent->session == parent->pid || makes_group_first(*parent, makers.contains(parent));
    const auto place = static_cast<std::size_t>(parent - snapshot.processes.data());
    groups.push_back(leads ? parent->pid : groups[place]);
  }
  return groups;
}

}  // namespace upkeep::engine
