#include "machine/cgroups.h"

#include <optional>

#include "os/file.h"

namespace upkeep::machine {
namespace {

Result<void> place(const engine::CarriedTask& task, const std::string& root) {
  if (task.cgroup.find("/../") != std::string::npos || task.cgroup.ends_with("/.."))
    return Err("'{}' is no cgroup path", task.cgroup);
  const std::string directory = root + task.cgroup;
  TRY(os::make_directories(directory));
  // Writing the process moves all of its threads (cgroups(7)); one that was in a threaded group of its own
  // ends beside its leader.
  return os::write_value(directory + "/cgroup.procs", std::to_string(task.pid));
}

}  // namespace

Result<void> place_in_cgroups(const engine::CarrySet& set, const std::string& root) {
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

}  // namespace upkeep::machine
