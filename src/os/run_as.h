#pragma once
// A process for the moment, for what the kernel remembers about who has done it (SO_PEERCRED of unix(7)).

#include <sys/types.h>

#include <functional>
#include <vector>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

struct Persona {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

// MAKE runs in a child that has this user, these groups and, where nobody else has it, this PID, beside our
// memory, descriptors and capabilities; it returns descriptors that it has opened, which are ours then. We
// stand still meanwhile: our other threads must not, if there are any, need what MAKE changes. CAP_SETUID,
// CAP_SETGID, CAP_CHECKPOINT_RESTORE.
Result<std::vector<UniqueFd>> run_as(const Persona& persona,
                                     const std::function<Result<std::vector<int>>()>& make);

}  // namespace upkeep::os
