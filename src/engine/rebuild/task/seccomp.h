#pragma once
// Filters of system calls, seccomp(2), of which none is in force while the tasks are being made: the tracer
// has suspended them (PTRACE_O_SUSPEND_SECCOMP). They need CAP_SYS_ADMIN, so they come before the credentials
// do.

#include <cstddef>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"

namespace upkeep::engine {

// How many filters all threads of a process begin with. Made before the threads are, they are the same
// objects for all of them, as SECCOMP_FILTER_FLAG_TSYNC asks.
std::size_t count_common_filters(const Process& process);
// In the first thread, before there are others.
Program compile_common_filters(const Snapshot& snapshot, const Process& process);
// In each thread: those that come behind the first COMMON ones.
Program compile_filters(const Snapshot& snapshot, const Thread& thread, std::size_t common);

}  // namespace upkeep::engine
