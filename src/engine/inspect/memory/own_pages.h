#pragma once
// Which pages of mappings have contents of their own.

#include <cstdint>
#include <span>
#include <vector>

#include "common/result.h"
#include "engine/model/memory/address_space.h"
#include "os/fd.h"
#include "os/pagemap.h"

namespace upkeep::engine {

// Ascending, neighbours joined.
struct OwnPages {
  std::vector<os::PageRange>
      pages;  // there or swapped out, neither the file's own nor the zero page; of shared
              // mappings there are none
  std::vector<os::PageRange> guards;  // guard regions, of any mapping
};

// Of each of MAPPINGS, which are ascending. PAGEMAP: /proc/PID/pagemap.
Result<std::vector<OwnPages>> own_pages(os::Fd pagemap, std::span<const Mapping> mappings);

}  // namespace upkeep::engine
