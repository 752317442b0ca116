#pragma once
// PID namespaces of the tasks' own: what of them cannot be made again.

#include "engine/model/snapshot.h"

namespace upkeep::engine {

// All processes are known. Also says what is lost: to tasks inside, who has made a connection is nobody.
void look_at_pid_namespaces(Snapshot& snapshot);

}  // namespace upkeep::engine
