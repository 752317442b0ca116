#pragma once
// Namespaces made anew, before the tasks that enter them.

#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"
#include "os/namespace.h"
#include "os/time_namespace.h"

namespace upkeep::engine {

// Those that are not valid are our own ones. They last for as long as the descriptors, or a task in them, do.
struct MadeNamespaces {
  os::UniqueFd user, uts, ipc, mnt, net, cgroup, time;
};

// One for each of Snapshot::namespaces; where several have one in common they have the same one. Time
// namespaces that only children of a process are in are none yet: that process makes them. CLOCKS: the
// offsets with which Snapshot::clocks go on.
using AllNamespaces = std::vector<MadeNamespaces>;
Result<AllNamespaces> make_namespaces(const Snapshot& snapshot, const os::ClockOffsets& clocks);
// When PROCESS has made one for its children: whoever lives in it gets it.
Result<void> take_childrens_time(const Process& process, const Snapshot& snapshot, AllNamespaces& namespaces);
// What to write to timens_offsets.
std::string offsets_text(const os::ClockOffsets& clocks, const ClockDifference& difference);

// Where names are looked up as the process sees them (os::in_namespace()); no descriptor where it has no
// mount namespace of its own.
os::Fd mounts_of(const Process& process, const AllNamespaces& namespaces);
// The same for each of Snapshot::files: as a process that has it open sees names.
std::vector<os::Fd> mounts_of_files(const Snapshot& snapshot, const AllNamespaces& namespaces);

// Where a socket is made; no descriptor where that is our own network.
os::Fd network_of(const Socket& socket, const Snapshot& snapshot, const AllNamespaces& namespaces);

// mount_tree.cc: in a mount namespace that was copied from the host's a moment ago, by a task of its own: the
// mounts become those that were recorded. SCRATCH: an empty folder for the time being.
Result<void> make_mount_tree(const std::vector<Mount>& mounts, const std::string& scratch);
// The same, in that mount namespace and by a task that lives in this PID namespace: file systems that show
// its processes. Where they are to be there is our own /proc until then, for the restorer needs it there.
Result<void> mount_procs(const std::vector<Mount>& mounts, std::uint64_t pid_namespace);

}  // namespace upkeep::engine
