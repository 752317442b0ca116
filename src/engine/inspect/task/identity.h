#pragma once
// IDs, names, credentials, scheduling, limits, directories: what /proc and system calls about other tasks say
// without any stop.

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

// DIRECTORY: /proc/PID. Returns the file status there, which is that of its first thread too.
Result<std::string> read_process(pid_t pid, os::Fd directory, Process& process,
                                 std::vector<Obstacle>& obstacles);
// STATUS: /proc/PID/task/TID/status, which others need as well.
Result<Thread> read_thread(pid_t tid, std::string_view status, std::vector<Obstacle>& obstacles);
// The label of a security module. DIRECTORY: /proc/PID/task/TID.
void look_at_label(pid_t tid, os::Fd directory, std::vector<Obstacle>& obstacles);
Result<void> read_zombie(pid_t pid, Process& process);

}  // namespace upkeep::engine
