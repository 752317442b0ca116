#pragma once
// Namespaces made anew, before the tasks that enter them.

#include <string>
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

}  // namespace upkeep::engine
