#pragma once
// Files that carried tasks use: open, mapped, working directories, the names of their sockets; and whether the file
// systems that these lie on come back with the new kernel.

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/finding.h"
#include "os/procfs.h"

namespace upkeep::machine {

struct UsedPath {
  pid_t pid;
  std::string path;
  std::string how;  // "descriptor 7", "mapping", "cwd"
};
// Paths only: what has none (anonymous memory, memfd_create(2)) is left out.
std::vector<UsedPath> used_paths(const std::vector<pid_t>& pids);

// Those outside the file systems that come back, one for each mount.
std::vector<Finding> check_files(const std::vector<pid_t>& pids, const std::vector<os::MountInfo>& mounts);

}  // namespace upkeep::machine
