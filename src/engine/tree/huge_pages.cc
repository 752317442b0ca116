#include "engine/tree/huge_pages.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace upkeep::engine {
namespace {

// Numbers of huge pages, from the first on, without the last.
using Stretches = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

std::uint64_t count(Stretches stretches) {
  std::ranges::sort(stretches);
  std::uint64_t pages = 0, end = 0;
  for (const auto& [first, last] : stretches) {
    if (last <= end) continue;
    pages += last - std::max(first, end);
    end = last;
  }
  return pages;
}

std::pair<std::uint64_t, std::uint64_t> stretch(std::uint64_t start, std::uint64_t end, std::uint64_t page) {
  return {start / page, (end + page - 1) / page};
}

bool is_promised(const Mapping& mapping) { return !mapping.has_flag("nr"); }

std::uint64_t pages_of_private(const Mapping& mapping, const std::vector<PageRun>& runs) {
  if (is_promised(mapping)) return mapping.length() / mapping.huge_page;
  Stretches used;
  for (const auto& run : runs) {
    const auto start = std::max(run.address, mapping.start);
    const auto end = std::min(run.address + run.count * kPage, mapping.end);
    if (start < end) used.push_back(stretch(start, end, mapping.huge_page));
  }
  return count(std::move(used));
}

std::uint64_t pages_of_file(const KeptFile& kept, const Snapshot& snapshot) {
  const auto page = kept.huge_page;
  if (kept.kind == KeptKind::segment) return (kept.size + page - 1) / page;  // promised when it is made
  Stretches used;
  for (const auto& run : kept.pages)
    used.push_back(stretch(run.address, run.address + run.count * kPage, page));
  for (const auto& process : snapshot.processes) {
    for (const auto& mapping : process.memory.mappings) {
      if (mapping.shared && mapping.device == kept.device && mapping.inode == kept.inode &&
          is_promised(mapping))
        used.push_back(stretch(mapping.offset, mapping.offset + mapping.length(), page));
    }
  }
  return count(std::move(used));
}

}  // namespace

HugePagesNeeded huge_pages_needed(const Snapshot& snapshot,
                                  const std::function<bool(const KeptFile&)>& is_there) {
  HugePagesNeeded needed;
  for (const auto& process : snapshot.processes) {
    for (const auto& mapping : process.memory.mappings) {
      if (mapping.huge_page != 0 && !mapping.shared)
        needed[mapping.huge_page] += pages_of_private(mapping, process.memory.pages);
    }
  }
  for (const auto& kept : snapshot.kept_files) {
    if (kept.huge_page != 0 && (!is_there || !is_there(kept)))
      needed[kept.huge_page] += pages_of_file(kept, snapshot);
  }
  return needed;
}

}  // namespace upkeep::engine
