#include "engine/native/trees.h"

#include <chrono>

#include "engine/carry_set.h"
#include "engine/native/inspect/inspect.h"

namespace upkeep::native {

Result<Inspected> inspect_trees(const std::vector<pid_t>& roots, bool stop) {
  TRY_ASSIGN(const auto set, engine::collect(roots));
  Inspected result;
  if (!stop) {
    TRY_ASSIGN(result.snapshot, glance(set.roots()));
    return result;
  }
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  {
    TRY_ASSIGN(const auto tree, StoppedTree::stop(set.roots()));
    TRY_ASSIGN(result.snapshot, inspect(tree, {}));
  }
  result.stopped_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
  return result;
}

}  // namespace upkeep::native
