#pragma once
// Which pages of a private mapping have contents of their own.

#include <cstdint>
#include <vector>

#include "common/result.h"
#include "engine/native/model/address_space.h"
#include "os/fd.h"

namespace upkeep::native {

struct PageRange {
  std::uint64_t start = 0, end = 0;
};

// PAGEMAP: /proc/PID/pagemap. Pages that are there or swapped out, and neither the file's own nor the zero
// page. Ascending, neighbours joined. Of shared mappings there are none. GUARDS: guard regions, of any
// mapping.
Result<std::vector<PageRange>> own_pages(os::Fd pagemap, const Mapping& mapping,
                                         std::vector<PageRange>* guards = nullptr);

}  // namespace upkeep::native
