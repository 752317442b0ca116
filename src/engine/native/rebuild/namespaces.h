#pragma once
// Namespaces made anew, before the tasks that enter them.

#include <optional>
#include <vector>

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "os/fd.h"
#include "os/namespace.h"

namespace upkeep::native {

// Those that are not valid are our own ones. They last for as long as the descriptors, or a task in them, do.
struct MadeNamespaces {
  os::UniqueFd user, uts, ipc, mnt;
};

// One for each of Snapshot::namespaces.
using AllNamespaces = std::vector<MadeNamespaces>;
Result<AllNamespaces> make_namespaces(const Snapshot& snapshot);

// Where names are looked up as the process sees them (os::in_namespace()); no descriptor where it has no
// mount namespace of its own. PROCESS may be null.
os::Fd mounts_of(const Process* process, const AllNamespaces& namespaces);
// A process that has FILE (an index into Snapshot::files) open.
const Process* holder_of(const Snapshot& snapshot, std::size_t file);

// mount_tree.cc: in a mount namespace that was copied from the host's a moment ago, by a task of its own: the
// mounts become those that were recorded. SCRATCH: an empty folder for the time being.
Result<void> make_mount_tree(const std::vector<Mount>& mounts, const std::string& scratch);

}  // namespace upkeep::native
