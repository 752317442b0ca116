#pragma once

#include <cstdint>

namespace upkeep {

// Bytes of a page of memory on x86-64, the smallest that page tables know (PAGE_SIZE of the kernel).
inline constexpr std::uint64_t kPageSize = 4096;

}  // namespace upkeep
