#pragma once
// Namespaces that have been made before are entered, setns(2). The descriptors in MadeNamespaces are process
// RESTORER's.

#include <cstdint>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"
#include "engine/rebuild/namespaces/namespaces.h"

namespace upkeep::engine {

// All that a process can enter while nothing of its own is open yet.
Program compile_namespaces(const Process& process, const Namespaces& wanted, const MadeNamespaces& namespaces,
                           std::int32_t restorer);
// Before that: a time namespace for children that are still to come, whose offsets can be set from outside.
// Only its maker can be in this relation to it.
Program compile_childrens_time(const Process& process, const MadeNamespaces& namespaces,
                               std::int32_t restorer);
// The PID namespace that its children are born into, when there are threads and descriptors: a process that
// has chosen one cannot make threads any more.
Program compile_childrens_pids(const Snapshot& snapshot, const Process& process);
// A user namespace is entered when memory and descriptors are there, which need privilege outside of it, and
// before there are threads, which could not follow. OUTSIDE: what has to be done before, because it is no
// longer possible inside.
Program compile_user_namespace(const Process& process, const MadeNamespaces& namespaces,
                               std::int32_t restorer, const Program& outside);

}  // namespace upkeep::engine
