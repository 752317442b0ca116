#pragma once
// Whoever connects to a socket of unix(7) can ask who has listened (SO_PEERCRED). Most often that is the
// process that has it open still: it listens again itself, which is less than a process for the moment that
// has its PID (peer_credentials.h).

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"

namespace upkeep::engine {

struct OwnListener {
  std::int32_t fd = 0;
  const Socket* socket = nullptr;
  // As the user and the groups that it is born with; else as those that it gets last of all.
  bool as_born = false;
};
using OwnListeners = std::map<std::int32_t, std::vector<OwnListener>>;  // by PID

// SNAPSHOT stays where it is. BORN: what new tasks inherit from us. MAY: whether a process is one to be
// asked.
OwnListeners find_own_listeners(const Snapshot& snapshot, const Credentials& born,
                                const std::function<bool(const Process&)>& may);
std::set<std::uint64_t> inodes_of(const OwnListeners& listeners);
// In that process, when its descriptors are there, and the user that AS_BORN stands for.
Program compile_listening(const std::vector<OwnListener>& listeners, bool as_born);

}  // namespace upkeep::engine
