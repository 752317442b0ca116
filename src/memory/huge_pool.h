#pragma once
// The kernel's pool of huge pages of one size (Documentation/admin-guide/mm/hugetlbpage.rst), and the
// physical addresses of pages in this process.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::memory {

class HugePool {
 public:
  HugePool(std::string pools, std::uint64_t page_size);
  bool exists() const;  // 1 GiB pages: the processor must have them (pdpe1gb)
  std::uint64_t page_size() const { return page_size_; }
  Result<std::uint64_t> size() const;  // pages, used and free
  // Asks for COUNT pages altogether. The kernel gives what it can, and may take its time; after END it is
  // interrupted and what there is by then stays. Returns how many there are.
  Result<std::uint64_t> resize(std::uint64_t count, std::chrono::steady_clock::time_point end) const;

 private:
  std::string file_;
  std::uint64_t page_size_;
};

// Physical addresses of COUNT pages of PAGE_SIZE bytes, one after the other from ADDRESS on, from
// /proc/self/pagemap. An error where one is not present, or without CAP_SYS_ADMIN (the kernel then shows
// frame number 0).
Result<std::vector<std::uint64_t>> physical_addresses(const std::byte* address, std::uint64_t count,
                                                      std::uint64_t page_size);
// One entry of pagemap: the physical address of a page that is present.
Result<std::uint64_t> decode_pagemap(std::uint64_t entry);

}  // namespace upkeep::memory
