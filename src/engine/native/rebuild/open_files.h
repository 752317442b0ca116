#pragma once
// The files, pipes, timers and so on of a snapshot, made by the restorer; its tasks take them from there.

#include <vector>

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "engine/native/rebuild/connections.h"
#include "engine/native/rebuild/kept_files.h"
#include "engine/native/rebuild/namespaces.h"
#include "os/fd.h"

namespace upkeep::native {

// One descriptor for each of Snapshot::files; none yet for those that are about tasks of the tree (pidfds,
// files of /proc/PID). TCP connections among them are put into CONNECTIONS as well. Where a process that has
// it open lives in a mount namespace of its own, it is opened there. The error names the file.
Result<std::vector<os::UniqueFd>> open_files(const Snapshot& snapshot, const AllNamespaces& namespaces,
                                             const KeptFiles& kept, HeldConnections& connections);

// Those, when all tasks are there.
Result<void> open_late_files(const Snapshot& snapshot, const AllNamespaces& namespaces,
                             std::vector<os::UniqueFd>& files);

// Who is sent signals by files, when all tasks are there.
Result<void> set_input_signals(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files);

}  // namespace upkeep::native
