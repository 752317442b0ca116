#pragma once
// The machine's pools of huge pages (hugetlbpage.rst).

#include <vector>

namespace upkeep::landing {

inline constexpr const char* kHugePagesStay =
    "a carried task uses the kernel's pools of huge pages, which this version does not make in the new "
    "kernel";

// Whether one of PIDS has memory or a file of such a pool, whether or not any of its pages are there yet.
bool use_huge_page_pools(const std::vector<int>& pids);

}  // namespace upkeep::landing
