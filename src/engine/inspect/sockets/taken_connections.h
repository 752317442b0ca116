#pragma once
// TCP connections of tasks that are about to be ended: closing one says so to its peer, unless it is in
// repair mode.

#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

// A second descriptor of each connection, so that it outlives its tasks and is put into repair mode only when
// they are gone: whoever dies in between has not left a task with a socket in that mode.
class TakenConnections {
 public:
  // The tasks of SNAPSHOT stand still.
  static Result<TakenConnections> take(const Snapshot& snapshot);
  // When the tasks have ended.
  Result<void> close_silently();

 private:
  std::vector<os::UniqueFd> sockets_;
};

}  // namespace upkeep::engine
