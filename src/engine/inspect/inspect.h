#pragma once
// Running tasks -> model.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/stop.h"
#include "engine/model/snapshot.h"
#include "engine/tree/answers.h"

namespace upkeep::engine {

// Where page contents go. The position is where they can be found again.
using PageSink = std::function<Result<std::uint64_t>(std::span<const std::byte> pages)>;

class PagesAhead;

struct InspectRequest {
  bool page_runs = true;  // which pages have contents; with a sink, also the contents
  bool guards = true;     // which pages are guards (GuardRegion)
  PageSink sink;
  const PagesAhead* ahead = nullptr;  // what was given to the same sink before (ahead.h)
  std::size_t many_threads = 32;      // so many are asked by chains of calls (call_chain.h), fewer one by one
  // Look for objects that tasks outside the tree hold too, among all tasks of the machine.
  bool surroundings = true;
  // What the tasks have said already, who have not run since (verify.h); nullptr: nothing.
  const KnownAnswers* answers = nullptr;
};

// Everything, from tasks that stand still. What is not understood, and what cannot be made again, is among
// the obstacles of the result and no error.
Result<Snapshot> inspect(const StoppedTree& tree, const InspectRequest& request);

// What can be read without stopping anybody: no registers, signals, timers, pages. Tasks that end meanwhile
// are left out.
Result<Snapshot> glance(const std::vector<pid_t>& roots);

}  // namespace upkeep::engine
