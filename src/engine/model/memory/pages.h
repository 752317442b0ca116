#pragma once
// Pages that have contents of their own, and where those are.

#include <cstdint>
#include <vector>

#include "common/page_size.h"
#include "common/result.h"

namespace upkeep::engine {

inline constexpr std::uint64_t kPage = kPageSize;
// Of user space with four levels of page tables.
inline constexpr std::uint64_t kHighestAddress = 0x7ffffffff000;

// Pages one after the other, in memory and in the file of page contents.
struct PageRun {
  std::uint64_t address = 0;
  std::uint64_t count = 0;     // pages
  std::uint64_t position = 0;  // bytes, in the file of page contents
  bool operator==(const PageRun&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("address", self.address);
    visit("count", self.count);
    visit("position", self.position);
  }
};

// Whether a page of a huge page pool has SIZE; those of x86-64 are of 2 MiB and 1 GiB.
bool is_huge_page(std::uint64_t size);
// Aligned, in order, below LIMIT, and somewhere in the file of page contents.
Result<void> check_pages(const std::vector<PageRun>& pages, std::uint64_t limit);

}  // namespace upkeep::engine
