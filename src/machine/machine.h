#pragma once
// The parts of the running machine that are neither tasks nor network: its root file system, the mounts that
// must be there before tasks are, what temporary file systems hold for them, its units.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/finding.h"
#include "common/result.h"
#include "os/procfs.h"

namespace upkeep::machine {

// The root file system as the new kernel has to find and mount it: by UUID, since device names may change
// between kernels.
struct RootFileSystem {
  std::string device;  // "/dev/vda1" here and now; for messages
  unsigned major = 0, minor = 0;
  std::string uuid, fs_type;
  std::string options;  // as mountinfo shows them, mount point's and superblock's
};
nlohmann::json to_json(const RootFileSystem& root);
Result<RootFileSystem> root_from_json(const nlohmann::json& json);

// UUID of the file system on DEVICE, read from the device.
Result<std::string> probe_uuid(const std::string& device);

// Mounts beside the root that upkeep-init makes before tasks come back, in order; systemd finds them made.
struct EarlyMount {
  std::string fs_type, source, mount_point, options;
};
nlohmann::json to_json(const EarlyMount& mount);
Result<EarlyMount> early_mount_from_json(const nlohmann::json& json);
std::vector<EarlyMount> early_mounts(const std::vector<os::MountInfo>& mounts);

// Files of carried tasks (open, mapped, working folders, sockets' names) outside the file systems that come
// back.
std::vector<Finding> check_files(const std::vector<pid_t>& pids, const std::vector<os::MountInfo>& mounts);
// Folders on file systems that are memory (tmpfs, hugetlbfs) that carried tasks use: copied into the store
// (temporary_files.h), put back before the tasks.
// "/run/redis" rather than one socket of it; all of a small mount (/dev/shm, /dev/hugepages, /tmp) where a
// task uses any of it.
std::vector<std::string> temporary_folders(const std::vector<pid_t>& pids,
                                           const std::vector<os::MountInfo>& mounts);

}  // namespace upkeep::machine
