#pragma once
// /proc/PID/pagemap, proc_pid_pagemap(5): 64 bits about each page of an address space.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// Addresses of a process, both multiples of the page size; END is the first one behind it.
struct PageRange {
  std::uint64_t start = 0, end = 0;
};

// Bits of an entry.
inline constexpr std::uint64_t kPageOfFile = 1ULL << 61U;        // or shared anonymous memory
inline constexpr std::uint64_t kPresentOrSwapped = 3ULL << 62U;  // either of the two bits
inline constexpr std::uint64_t kSoftDirty = 1ULL << 55U;         // written since clear_refs (soft-dirty.rst)

// One entry for each page of RANGE.
Result<std::vector<std::uint64_t>> read_pagemap(Fd pagemap, const PageRange& range);

// Whether there is nothing but zeros in it. PAGE: not empty.
bool all_zero(std::span<const std::byte> page);

}  // namespace upkeep::os
