#include "engine/model/memory/pages.h"

#include <bit>

namespace upkeep::engine {

bool is_huge_page(std::uint64_t size) {
  constexpr std::uint64_t kLargest = 1ULL << 30U;
  return size > kPage && size <= kLargest && std::has_single_bit(size);
}

Result<void> check_pages(const std::vector<PageRun>& pages, std::uint64_t limit) {
  std::uint64_t end = 0;
  for (const auto& run : pages) {
    if (run.address % kPage != 0 || run.position % kPage != 0)
      return Err("pages at {:#x} are not aligned", run.address);
    if (run.address < end || run.count == 0 || run.address > limit ||
        run.count > (limit - run.address) / kPage)
      return Err("pages at {:#x} are out of order or out of bounds", run.address);
    if (run.position > static_cast<std::uint64_t>(INT64_MAX) - run.count * kPage)
      return Err("pages at {:#x} lie nowhere", run.address);
    end = run.address + run.count * kPage;
  }
  return {};
}

}  // namespace upkeep::engine
