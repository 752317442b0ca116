#pragma once
// The mounts of a mount namespace: mount_namespaces(7).

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// In a mount namespace that was copied from the host's a moment ago, by a task of its own: the mounts become
// those that were recorded. SCRATCH: an empty directory for the time being.
Result<void> make_mount_tree(const std::vector<Mount>& mounts, const std::string& scratch);
// The same, in that mount namespace and by a task that lives in this PID namespace: file systems that show
// its processes. Where they are to be there is our own /proc until then, for the restorer needs it there.
Result<void> mount_procs(const std::vector<Mount>& mounts, std::uint64_t pid_namespace);

}  // namespace upkeep::engine
