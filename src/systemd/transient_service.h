#pragma once
// A service that is made for one run of one program (systemd-run(1)).

#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::systemd {

struct TransientService {
  std::string name;  // without ".service"
  std::vector<std::string> command;
  std::vector<std::string>
      after_stop;  // run however the command ended, and by systemd: killing it does not help
};

// Returns when it has been started. It is in a cgroup of its own, the last one that the kernel takes when memory
// runs out, and what it is asked to stop it may do in its own time.
Result<void> start_transient(const TransientService& service);

}  // namespace upkeep::systemd
