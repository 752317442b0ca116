#pragma once
// What criu cannot carry, as rules on facts: no system calls in here. One rule for each reason, so that
// whoever meets a new refusal of criu's finds where to add it.

#include <functional>
#include <set>
#include <vector>

#include "common/finding.h"
#include "engine/carry_set.h"
#include "engine/criu/socket_facts.h"
#include "engine/criu/task_facts.h"
#include "engine/engine.h"

namespace upkeep::engine::criu {

// Facts about one tree and the machine that it runs on.
struct TreeFacts {
  const CarriedTree* tree = nullptr;
  std::vector<TaskFacts> tasks;
  std::map<std::pair<pid_t, int>, SocketFacts> sockets;  // by PID and descriptor
};

struct MachineFacts {
  std::map<std::string, std::uint64_t, std::less<>> namespaces;  // upkeep's own, and so criu's
  UnixSockets unix_sockets;
  Holders holders;
  std::set<std::string> carried_ends;                          // local addresses of all carried inet sockets
  std::function<std::string(pid_t)> name_of;                   // "412 (sshd)"
  std::function<bool(pid_t, const std::string& link)> writes;  // has this open for writing
  Destination destination;
};

std::vector<Finding> judge(const TreeFacts& tree, const MachineFacts& machine);

}  // namespace upkeep::engine::criu
