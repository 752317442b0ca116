#include "engine/inspect/memory/huge_pages.h"

#include <algorithm>

#include "engine/tree/huge_pages.h"
#include "os/huge_pages.h"

namespace upkeep::engine {

// Those that are private and have been forked are there once for each process afterwards.
Result<void> look_at_huge_pages(Snapshot& snapshot) {
  const auto needed = huge_pages_needed(snapshot);
  if (needed.empty()) return {};
  TRY_ASSIGN(const auto pools, os::read_huge_pages());
  for (const auto& [page_size, pages] : needed) {
    for (const auto& pool : pools) {
      const auto most = pool.all - std::min(pool.surplus, pool.all) + std::max(pool.overcommit, pool.surplus);
      if (pool.page_size != page_size || pages <= most) continue;
      snapshot.obstacles.push_back(
          {snapshot.processes.front().pid, fmt::format("huge pages of {} kB", page_size / 1024),
           fmt::format(
               "{} are needed to make all of them again, and the pool has {}: those that a process still "
               "shares with the one that has forked it are made for each of them",
               pages, most),
           fmt::format("write {} to {}/hugepages-{}kB/nr_hugepages", pages, os::kHugePagePools,
                       page_size / 1024)});
    }
  }
  return {};
}

}  // namespace upkeep::engine
