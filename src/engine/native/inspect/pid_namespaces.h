#pragma once
// PID namespaces of the tasks' own: what of them cannot be made again.

#include "engine/native/model/snapshot.h"

namespace upkeep::native {

// All processes are known. Also says what is lost: to tasks inside, who has made a connection is nobody.
void look_at_pid_namespaces(Snapshot& snapshot);

}  // namespace upkeep::native
