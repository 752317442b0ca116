#pragma once
// IDs as those see them who live in a PID namespace inside of ours: pid_namespaces(7). A namespace is where
// its first process, its init, was made, and ends with it.

#include <cstdint>
#include <vector>

#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Namespaces between us and the process; 0: it lives in ours.
inline std::size_t depth_of(const Process& process) { return process.inner_pids.size(); }
inline bool is_init(const Process& process) {
  return !process.inner_pids.empty() && process.inner_pids.back() == 1;
}

// What has the ID OUTER for us and INNER further inside, as VIEWER calls it; 0: it is not in there.
std::int32_t seen_by(const Process& viewer, std::int32_t outer, const std::vector<std::int32_t>& inner);
inline std::int32_t seen_by(const Process& viewer, const Process& subject) {
  return seen_by(viewer, subject.pid, subject.inner_pids);
}
inline std::int32_t own_id(const Process& process) { return seen_by(process, process); }
// As clone3(2) takes them: the innermost first, ours last.
std::vector<std::int32_t> wanted_ids(std::int32_t outer, const std::vector<std::int32_t>& inner);

// The process group OUTER, by who is in it; 0: nobody is, or it is not in there.
std::int32_t group_seen_by(const Process& viewer, const Snapshot& snapshot, std::int32_t outer);

// Those that are in it: its init, and who has made that, where they are part of the snapshot.
const Process* init_of(const Snapshot& snapshot, std::uint64_t pid_namespace);
// A child that is born into another PID namespace than its parent's.
bool enters_namespace(const Process& parent, const Process& child);

// The group that a process is in when it is made and has not been moved yet; 0: that of whoever rebuilds.
// For each of Snapshot::processes.
std::vector<std::int32_t> groups_at_birth(const Snapshot& snapshot);
// Whether a process with such CHILDREN makes the group that it leads before them: in their PID namespaces
// there is no name for it.
bool makes_group_first(const Process& process, bool children_in_namespaces);

}  // namespace upkeep::engine
