#include "engine/rebuild/memory/huge_pages.h"

#include <sys/shm.h>

#include <algorithm>

#include "engine/tree/huge_pages.h"
#include "os/huge_pages.h"

namespace upkeep::engine {
namespace {

bool segment_is_there(const KeptFile& kept) {
  shmid_ds about = {};
  return kept.kind == KeptKind::segment && ::shmctl(static_cast<int>(kept.inode), IPC_STAT, &about) == 0;
}

}  // namespace

Result<void> huge_pages_suffice(const Snapshot& snapshot) {
  const auto needed = huge_pages_needed(snapshot, segment_is_there);
  if (needed.empty()) return {};
  TRY_ASSIGN(const auto pools, os::read_huge_pages());
  for (const auto& [page_size, pages] : needed) {
    const auto pool =
        std::ranges::find_if(pools, [size = page_size](const auto& p) { return p.page_size == size; });
    const auto kilobytes = page_size / 1024;
    if (pool == pools.end()) return Err("this kernel has no huge pages of {} kB", kilobytes);
    if (pool->available() >= pages) continue;
    return Err(
        "{} huge pages of {} kB are needed and {} are free: write {} to {}/hugepages-{}kB/nr_hugepages (it "
        "says {} "
        "now)",
        pages, kilobytes, pool->available(), pool->all + pages - pool->available(), os::kHugePagePools,
        kilobytes, pool->all);
  }
  return {};
}

}  // namespace upkeep::engine
