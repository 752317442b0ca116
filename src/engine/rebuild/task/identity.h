#pragma once
// What /proc says about a task: credentials, scheduling, limits, directories, login ID.

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"

namespace upkeep::engine {

Program compile_login(const Process& process);  // the loginuid of audit
// INHERITED: what the task has already; nullptr: that is not known.
void add_scheduling(Program& program, const Scheduling& scheduling, const Scheduling* inherited);
// Of the process: root and working directory, getrlimit(2).
void add_directories_and_limits(Program& program, const Process& process);
// Last, for nothing that needs privilege works after it. IDS: users and groups are set too.
Program compile_credentials(const Process& process, const Thread& thread, bool ids,
                            const Credentials* inherited);
// What is no longer possible inside a user namespace of its own, by the first thread before it enters that:
// scheduling, directories and limits, and the user and groups that it has outside.
Program compile_identity_outside(const Process& process);

}  // namespace upkeep::engine
