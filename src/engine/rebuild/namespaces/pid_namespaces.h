#pragma once
// What is about a PID namespace as a whole, when its processes are there.

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/namespaces/namespaces.h"

namespace upkeep::engine {

// The file systems that show its processes are mounted in mount namespaces of their own, where until now ours
// is; and the next process that is born gets an ID above all that are known (where the count stood cannot be
// read from outside).
Result<void> finish_pid_namespaces(const Snapshot& snapshot, const AllNamespaces& namespaces);

}  // namespace upkeep::engine
