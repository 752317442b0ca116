#pragma once
// Which of the huge pages that the kernel gave us become the store. The fewer and longer the ranges, the
// better: the kernel command line is 2048 bytes, the decompressor's KASLR knows four regions, and only whole
// memory blocks (128 MB on most machines) can be handed back to the page allocator afterwards.

#include <cstdint>
#include <span>
#include <vector>

#include "common/result.h"
#include "memory/physical_range.h"

namespace upkeep::memory {

struct ChoiceRules {
  std::uint64_t bytes_needed = 0;
  std::uint64_t page_size = 2 * kMiB;
  std::uint64_t block_size = 128 * kMiB;     // /sys/devices/system/memory/block_size_bytes
  std::uint64_t lowest_address = 16 * kMiB;  // below: the DMA zone and the kernel's default load address
  std::size_t good_ranges = 4;               // as many as KASLR understands
  std::size_t most_ranges = 12;              // as many as fit the command line
};

// PAGES: physical addresses of huge pages, in any order. The result is sorted and merged and has at least
// bytes_needed: whole memory blocks where at most good_ranges of those suffice (then it may be larger than
// asked for), otherwise the longest runs. Among equals high addresses win: low memory is what the new kernel
// boots in.
Result<std::vector<PhysicalRange>> choose_ranges(std::span<const std::uint64_t> pages,
                                                 const ChoiceRules& rules);

}  // namespace upkeep::memory
