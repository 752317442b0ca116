#pragma once
// The process that carries an operation out, apart from any terminal. It is two: a doer that applies the stages,
// and a supervisor that started it, holds the lock, listens to signals and the deadline, and undoes. Whatever
// goes wrong (a stage fails, the deadline passes, SIGINT, SIGTERM or SIGHUP arrives, the doer is killed) the
// doer ends first, and then one path undoes everything from the journal (undo.h). Where the supervisor itself
// is killed, `upkeep recover` walks the same path: at once where a service manager was asked for that, or with
// the next command that finds the journal unfinished.

#include <functional>
#include <string>
#include <vector>

#include "common/result.h"
#include "operation/lock.h"
#include "operation/operation.h"
#include "operation/plan.h"

namespace upkeep::operation {

// The worker as a service.
struct WorkerService {
  std::string name;                     // "upkeep-ID"
  std::vector<std::string> command;     // `PROGRAM worker ID`
  std::vector<std::string> after_stop;  // `PROGRAM recover ID`: to be run however the worker ended
};
// Starts it apart from the caller's session and cgroup; whoever knows the machine's service manager provides it
// (systemd/transient_service.h): this room knows none.
using ServiceStarter = std::function<Result<void>(const WorkerService& service)>;

// Starts `PROGRAM worker ID` apart from the caller's terminal: by STARTER, or, where that is empty, in a session
// of its own.
Result<void> start_worker(const Plan& plan, const std::string& program, const ServiceStarter& starter);

// The worker's main. Returns the exit code: 0 done (an operation after whose last stage nothing returns only
// gets here by a dry run), 1 undone.
int run_worker(const Plan& plan, const Operations& operations,
               const std::string& run_directory = kRunDirectory);

}  // namespace upkeep::operation
