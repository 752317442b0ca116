#pragma once
// The engine that drives the criu program (4.0 or newer; Debian 13 has 4.1) over its RPC protocol.
//
// Snapshot: one criu for each tree, `leave_running`, so that criu itself never ends a task. The tasks stand
// still for as long as criu's last notification goes unanswered. Nothing of criu's own network locking is
// used: upkeep closes the network.
//
// System V shared memory: criu refuses it in the IPC namespace that it lives in itself, so it is started in
// another one. The restored tree then lives in an IPC namespace of its own, with copies of all of the old
// one's objects: within the tree everything goes on; programs outside do not see those objects any more.

#include <memory>
#include <string>

#include "engine/criu/worker.h"
#include "engine/engine.h"

namespace upkeep::engine::criu {

struct EngineOptions {
  Program program;                               // empty: `criu` of this system
  std::string work_folder = "/run/upkeep/criu";  // logs and statistics; made if it is not there, mode 0700
  std::string cgroup_root = "/sys/fs/cgroup";
};

std::unique_ptr<Engine> make_engine(EngineOptions options = {});

}  // namespace upkeep::engine::criu
