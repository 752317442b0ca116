#pragma once
// Trees of tasks looked at, written to a directory, and made again from it on the running kernel: the steps of the seam
// (engine/engine.h) as `upkeep inspect`, `upkeep snapshot` and `upkeep restore DIR` take them.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

struct Inspected {
  Snapshot snapshot;
  std::int64_t stopped_ns = 0;  // how long the tasks stood still; 0: they did not
};

// Refuses what collect() in engine/carry_set.h refuses. What could not be carried is no error here but listed
// in the snapshot. STOP: false reads only what needs no stop.
Result<Inspected> inspect_trees(const std::vector<pid_t>& roots, bool stop);

struct Saved {
  std::vector<std::int32_t> pids;
  std::uint64_t page_bytes = 0;
  std::int64_t stopped_ns = 0;  // until they ran on, or until everything was on disk
};

// What the caller does with the network. Without it trees with TCP connections are refused.
struct NetworkHooks {
  // The tasks, these, stand still, and no queue of theirs has been read: from now on nothing may reach or
  // leave their connections.
  std::function<Result<void>(const std::vector<pid_t>& pids)> hold;
  // They have ended, and their connections are about to: it has to be so until they are made again, whatever
  // becomes of us.
  std::function<Result<void>()> keep;
  // Their connections are all there again, and have not sent anything yet.
  std::function<Result<void>()> release;
};

// Writes the trees to DIRECTORY, which is made (or is there, empty) and readable by root only, and ends them
// when it is all on disk, unless LEAVE_RUNNING. What cannot be carried is refused by name, before anything
// stops where it can be seen from outside. After an error the tasks run on and the directory is as it was. Peers
// of connections that end hear nothing of it; the network stays held, also after an error: that is the
// caller's.
Result<Saved> save_trees(const std::vector<pid_t>& roots, const std::string& directory, bool leave_running,
                         const NetworkHooks& network = {});

// Makes the trees that are in DIRECTORY. They belong to the caller, or to whoever adopts its children; PIDs are
// the same. They are looked at again and compared with what was saved before they run. STOPPED: they stand
// stopped by SIGSTOP. The directory stays. After an error there are no tasks.
struct RestoredTrees {
  std::vector<std::int32_t> roots, pids;
};
Result<RestoredTrees> restore_trees(const std::string& directory, bool stopped,
                                    const NetworkHooks& network = {});
// Whether DIRECTORY is one that save_trees() has written.
bool is_saved_tree(const std::string& directory);

}  // namespace upkeep::engine
