#pragma once
// The kernel's pools of huge pages (Documentation/admin-guide/mm/hugetlbpage.rst), one for each size that the
// processor has.

#include <sys/types.h>

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::os {

inline constexpr const char* kHugePagePools = "/sys/kernel/mm/hugepages";

// In pages, but for page_size (bytes).
struct HugePages {
  std::uint64_t page_size = 0;
  std::uint64_t all = 0;   // used and free, those beyond the pool's own size too
  std::uint64_t free = 0;  // some of these are promised to mappings:
  std::uint64_t reserved = 0;
  std::uint64_t surplus = 0;     // beyond the pool's own size,
  std::uint64_t overcommit = 0;  // which may be that many at most

  // The pool's own size.
  std::uint64_t own() const { return all > surplus ? all - surplus : 0; }
  // What a new mapping can have.
  std::uint64_t available() const {
    const auto own = free > reserved ? free - reserved : 0;
    return own + (overcommit > surplus ? overcommit - surplus : 0);
  }
};

// Empty where the kernel or its processor has none. POOLS: another directory in tests.
Result<std::vector<HugePages>> read_huge_pages(const std::string& pools = kHugePagePools);

// Whether the process has memory or a file of such a pool, whether or not any of its pages are there yet.
bool uses_huge_pages(pid_t pid);

// Flags of mmap(2), memfd_create(2) and shmget(2) that ask for pages of this size, beside the one that asks
// for huge ones.
constexpr int huge_page_size_flags(std::uint64_t page_size) {
  constexpr int kShift = 26;  // MAP_HUGE_SHIFT, MFD_HUGE_SHIFT, SHM_HUGE_SHIFT
  return std::countr_zero(page_size) << kShift;
}

}  // namespace upkeep::os
