#include "memory/range_choice.h"

#include <algorithm>
#include <optional>
#include <tuple>

namespace upkeep::memory {
namespace {

// Takes from the upper ends of the longest candidates until NEEDED is reached.
std::optional<std::vector<PhysicalRange>> take_longest(std::vector<PhysicalRange> candidates,
                                                       std::uint64_t needed, std::size_t most) {
  std::ranges::sort(candidates, [](const PhysicalRange& a, const PhysicalRange& b) {
    return std::tuple(a.size, a.start) > std::tuple(b.size, b.start);
  });
  std::vector<PhysicalRange> taken;
  for (const auto& candidate : candidates) {
    if (needed == 0 || taken.size() == most) break;
    const std::uint64_t size = std::min(candidate.size, needed);
    taken.push_back({candidate.end() - size, size});
    needed -= size;
  }
  if (needed != 0) return std::nullopt;
  return merged(std::move(taken));
}

std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

Result<std::vector<PhysicalRange>> choose_ranges(std::span<const std::uint64_t> pages,
                                                 const ChoiceRules& rules) {
  if (rules.bytes_needed == 0) return Err("asked to choose no memory at all");
  std::vector<PhysicalRange> runs;
  for (const std::uint64_t page : pages)
    if (page >= rules.lowest_address) runs.push_back({page, rules.page_size});
  runs = merged(std::move(runs));
  if (total_size(runs) < rules.bytes_needed)
    return Err("{} MB of huge pages are needed for the images, the kernel gave {} MB",
               rules.bytes_needed / kMiB, total_size(runs) / kMiB);

  std::vector<PhysicalRange> blocks;
  for (const auto& run : runs)
    if (auto whole = whole_blocks(run, rules.block_size); whole.size != 0) blocks.push_back(whole);
  if (auto chosen = take_longest(blocks, rounded_up(rules.bytes_needed, rules.block_size), rules.good_ranges))
    return *chosen;

  if (auto chosen = take_longest(runs, rounded_up(rules.bytes_needed, rules.page_size), rules.most_ranges))
    return *chosen;
  return Err(
      "physical memory is too fragmented: the {} longest runs of huge pages have less than the {} MB needed",
      rules.most_ranges, rules.bytes_needed / kMiB);
}

}  // namespace upkeep::memory
