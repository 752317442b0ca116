#pragma once
// Network namespaces of the tasks' own: what src/net reads of ours, read in them.

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/stop.h"
#include "engine/model/snapshot.h"
#include "net/hold.h"

namespace upkeep::engine {

// Namespaces::network of that of PID; what in it cannot be made again is among the obstacles.
Result<std::string> read_network(pid_t pid, std::vector<Obstacle>& obstacles);

// Nothing gets from one socket to another in the namespaces of their own that tasks which stand still are in,
// until this is let go. A kernel without nf_tables cannot: then those that have TCP connections in one cannot
// be carried, and check_held() says so.
class HeldNetworks {
 public:
  static HeldNetworks hold(const StoppedTree& tree);
  Result<void> check_held(const Snapshot& snapshot) const;

 private:
  std::vector<net::NamespaceHold> holds_;
  std::string error_;
};

}  // namespace upkeep::engine
