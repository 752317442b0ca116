#pragma once
// Mounts beside the root that have to be there before tasks are: upkeep-init makes them, in order, and systemd
// finds them made.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/result.h"
#include "os/procfs.h"

namespace upkeep::machine {

struct EarlyMount {
  std::string fs_type, source, mount_point, options;
};
nlohmann::json to_json(const EarlyMount& mount);
Result<EarlyMount> early_mount_from_json(const nlohmann::json& json);

// Of MOUNTS, which are the machine's.
std::vector<EarlyMount> early_mounts(const std::vector<os::MountInfo>& mounts);
// What is a mount point already is left alone. What is mounted later on reaches mount namespaces that were made
// before.
Result<void> make_early_mounts(const std::vector<EarlyMount>& mounts);

}  // namespace upkeep::machine
