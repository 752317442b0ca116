#include "engine/verify/verify.h"

#include <algorithm>

#include "engine/inspect/inspect.h"
#include "engine/verify/compare.h"

namespace upkeep::engine {
namespace {

Result<void> is_as_wanted(const Snapshot& wanted, Snapshot found) {
  // What is not understood is not as it was.
  if (found.obstacles.empty()) return compare(wanted, std::move(found));
  const auto& first = found.obstacles.front();
  return Err("what was made cannot be carried: process {}, {}: {}", first.pid, first.what, first.why);
}

}  // namespace

Result<StoppedTree> verify(const Snapshot& wanted, NewTasks tasks) {
  std::vector<HeldProcess> held;
  for (auto& process : tasks.processes()) {
    auto& one = held.emplace_back();
    one.pid = process.pid;
    one.zombie = process.threads.empty();
    for (auto& thread : process.threads) {
      const auto signal = thread.stop_signal();
      one.threads.push_back({std::move(thread), signal.value_or(0)});
    }
  }
  tasks.processes().clear();
  // In the order of the model, which is not always that in which they were made.
  auto position = [&](pid_t pid) { return wanted.find(pid) - wanted.processes.data(); };
  std::sort(held.begin(), held.end(),
            [&](const auto& a, const auto& b) { return position(a.pid) < position(b.pid); });
  auto tree = StoppedTree::adopt(std::move(held));
  const bool guards =
      std::ranges::any_of(wanted.processes, [](const auto& p) { return !p.memory.guards.empty(); });
  InspectRequest request;
  request.pages.runs = false;
  request.pages.guards = guards;
  request.tasks = Look::just_made;
  request.scope = Scope::trees;
  request.answers = &tasks.answers();
  auto found = inspect(tree, request);
  auto same = found ? is_as_wanted(wanted, std::move(*found))
                    : Result<void>(tl::unexpected(std::move(found).error()));
  if (same) return tree;
  (void)tree.kill();
  return tl::unexpected(std::move(same).error());
}

}  // namespace upkeep::engine
