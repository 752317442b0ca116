#include "engine/model/namespaces/namespaces.h"

#include <set>

#include "engine/model/namespaces/network.h"

namespace upkeep::engine {

Result<void> validate(const std::vector<Namespaces>& all, const KnownObjects&) {
  constexpr std::size_t kLargestNetwork = 4U << 20U, kMostHierarchies = 64;
  constexpr std::int64_t kFarthest = std::int64_t{1} << 62U;  // KTIME_MAX / 2: kernel/time/namespace.c
  std::set<std::uint64_t> mounts, networks, waited_for;
  for (const auto& one : all) {
    const auto& numbers = one.numbers;
    const bool told = (numbers.user != 0) == one.user.has_value() &&
                      (numbers.uts != 0) == one.uts.has_value() &&
                      (numbers.time != 0) == one.time.has_value() &&
                      (numbers.time_for_children != 0) == one.time_for_children.has_value() &&
                      (numbers.cgroup != 0) == !one.cgroup_roots.empty();
    const bool first_mounts = numbers.mnt != 0 && mounts.insert(numbers.mnt).second;
    const bool first_network = numbers.net != 0 && networks.insert(numbers.net).second;
    if (!told || first_mounts == one.mounts.empty() || first_network == one.network.empty())
      return Err("namespaces: what is in them is not told");
    if (one.network.size() > kLargestNetwork || one.cgroup_roots.size() > kMostHierarchies)
      return Err("namespaces: there is too much in them");
    if (numbers.time_for_children != 0 && !waited_for.insert(numbers.time_for_children).second)
      return Err("namespaces: several processes wait for one of time");
    for (const auto& ahead : {one.time, one.time_for_children}) {
      const auto possible = [](std::int64_t ns) { return ns >= -kFarthest && ns <= kFarthest; };
      if (ahead && (!possible(ahead->monotonic) || !possible(ahead->boottime)))
        return Err("namespaces: impossible clocks");
    }
    for (const auto& root : one.cgroup_roots) {
      if (!stays_below(root.path)) return Err("cgroup '{}' leads out of its place", root.path);
    }
  }
  return {};
}

void make_comparable(Namespaces& value, const Namespaces* other, Comparison& comparison) {
  if (other != nullptr) forget_unknown_sysctls(value.network, other->network);
  auto& numbers = value.numbers;
  for (auto* number : {&numbers.user, &numbers.uts, &numbers.ipc, &numbers.mnt, &numbers.net, &numbers.cgroup,
                       &numbers.time, &numbers.time_for_children}) {
    if (*number != 0) *number = comparison.namespaces(*number);
  }
}

}  // namespace upkeep::engine
