#pragma once
// The process that carries an upgrade out, apart from any terminal. It is two: a doer that applies the
// stages, and a supervisor that started it, holds the lock, listens to signals and the deadline, and undoes.
// Whatever goes wrong (a stage fails, the deadline passes, SIGINT, SIGTERM or SIGHUP arrives, the doer is
// killed) the doer ends first, and then one path undoes everything from the journal (undo.h). Where the
// supervisor itself is killed, `upkeep recover` walks the same path: at once as systemd's ExecStopPost=, or
// with the next command that finds the journal unfinished.

#include <string>

#include "common/result.h"
#include "jump/plan.h"

namespace upkeep::jump {

// Starts `PROGRAM worker ID` apart from the caller's terminal, session and cgroup: a transient systemd
// service where systemd runs (so that undo runs by itself when the worker is killed), a session of its own
// elsewhere.
Result<void> start_worker(const Plan& plan, const std::string& program);

// The worker's main. Returns the exit code: 0 done (only for a dry run; after a jump nothing returns), 1
// undone.
int run_worker(const Plan& plan);

}  // namespace upkeep::jump
