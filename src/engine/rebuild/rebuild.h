#pragma once
// Model -> tasks. They stand stopped, with the IDs that they had, and have not run an instruction of their
// own. In this order:
//
//  1. namespaces are made; obstacles are looked for: IDs that are taken, files that are not there, another
//     kernel's vdso
//  2. files, pipes, timers and so on are made by us; tasks take them later with pidfd_getfd(2). Those about
//     tasks come before 6, when the tasks are there
//  3. a helper enters a new time namespace, in which the clocks stand where they stood, and makes the roots
//     as its siblings: they are our children, and whoever adopts ours adopts them
//  4. each task makes its keyring, what it has mapped as its children have (common_memory.h), and its
//     children, before or after setsid(2), after which leaders take their terminals; stand-ins take the
//     places of parents and leaders that have ended (engine/tree/births.h); then process groups
//  5. mount, UTS and IPC namespaces are entered; memory, then tasks that had ended end again, then threads;
//     descriptors, with entries of epoll sets and listening; user namespaces, which single threads can enter
//     only, and the threads there
//  6. job control's stops, in which tasks of ours can still be run; what each thread has of its own; then, by
//     the first thread, signal actions, timers and limits
//  7. filters of system calls, which are suspended until the tasks run; credentials, for nothing that needs
//     privilege works after them; then all say what they have now (roll_call.h)
//  8. interrupted sleeps are taken up and interrupted again, registers and signal masks are put back; the
//     last call that is made for a process takes the arena out of its memory

#include <string>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/task/new_tasks.h"

namespace upkeep::engine {

// PAGES: the file of page contents.
Result<NewTasks> rebuild(const Snapshot& snapshot, const std::string& pages);

}  // namespace upkeep::engine
