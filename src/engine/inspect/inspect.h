#pragma once
// Running tasks -> model.

#include <cstddef>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/look.h"
#include "engine/inspect/calls/stop.h"
#include "engine/inspect/memory/page_request.h"
#include "engine/model/snapshot.h"
#include "engine/tree/answers.h"

namespace upkeep::engine {

struct InspectRequest {
  Look tasks = Look::stopped;  // or just made
  Scope scope = Scope::with_outside;
  PageRequest pages = {};
  std::size_t many_threads = 32;  // so many are asked by chains of calls (call_chain.h), fewer one by one
  // What the tasks have answered already, which have not run since (verify.h); nullptr: nothing.
  const KnownAnswers* answers = nullptr;
};

// Everything, from tasks that stand still. What is not understood, and what cannot be made again, is among
// the obstacles of the result and no error.
Result<Snapshot> inspect(const StoppedTree& tree, const InspectRequest& request);

// What can be read without stopping anybody: no registers, signals, timers, pages. Tasks that end meanwhile
// are left out.
Result<Snapshot> glance(const std::vector<pid_t>& roots);

}  // namespace upkeep::engine
