#pragma once
// Which pages of mappings have contents of their own.

#include <cstdint>
#include <span>
#include <vector>

#include "common/result.h"
#include "engine/model/memory/address_space.h"
#include "os/fd.h"

namespace upkeep::engine {

// Of an entry of /proc/PID/pagemap: the page is there, or swapped out.
inline constexpr std::uint64_t kPresentOrSwapped = 3ULL << 62U;

struct PageRange {
  std::uint64_t start = 0, end = 0;
};

// Ascending, neighbours joined.
struct OwnPages {
  std::vector<PageRange> pages;   // there or swapped out, neither the file's own nor the zero page; of shared
                                  // mappings there are none
  std::vector<PageRange> guards;  // guard regions, of any mapping
};

// Of each of MAPPINGS, which are ascending. PAGEMAP: /proc/PID/pagemap.
Result<std::vector<OwnPages>> own_pages(os::Fd pagemap, std::span<const Mapping> mappings);

}  // namespace upkeep::engine
