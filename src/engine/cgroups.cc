#include "engine/cgroups.h"

#include <optional>

#include "os/file.h"

namespace upkeep::engine {
namespace {

Result<void> place(const CarriedTask& task, const std::string& root) {
  if (task.cgroup.find("/../") != std::string::npos || task.cgroup.ends_with("/.."))
    return Err("'{}' is no cgroup path", task.cgroup);
  const std::string folder = root + task.cgroup;
  TRY(os::make_directories(folder));
  // Writing the process moves all of its threads (cgroups(7)); one that was in a threaded group of its own
  // ends beside its leader.
  return os::write_value(folder + "/cgroup.procs", std::to_string(task.pid));
}

}  // namespace

Result<void> place_in_cgroups(const CarrySet& set, const std::string& root) {
  if (!os::exists(root + "/cgroup.procs")) return {};
  std::optional<Error> first;
  for (const auto& tree : set.trees) {
    for (const auto& task : tree.tasks) {
      if (task.cgroup.empty()) continue;
      auto placed = place(task, root);
      if (!placed && !first)
        first = std::move(placed).error().in(
            fmt::format("{} ({}) into cgroup {}", task.pid, task.comm, task.cgroup));
    }
  }
  if (first) return tl::unexpected(std::move(*first));
  return {};
}

}  // namespace upkeep::engine
