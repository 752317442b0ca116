#include "engine/inspect/memory/own_pages.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <span>

#include "engine/model/snapshot.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

// Mappings that lie next to each other and are looked at alike.
struct Stretch {
  std::uint64_t start = 0, end = 0;
  bool shared = false;
};

void append_range(std::vector<os::PageRange>& ranges, std::uint64_t start, std::uint64_t end) {
  if (!ranges.empty() && ranges.back().end == start)
    ranges.back().end = end;
  else
    ranges.push_back({start, end});
}

// PAGEMAP_SCAN walks page tables, so that terabytes that were only reserved cost nothing. Private pages:
// there or swapped out, not the file's own, not the zero page. GUARDS: whether this kernel tells guard
// regions (6.15); they look like swapped pages to those that do not.
Result<OwnPages> scan(os::Fd pagemap, const Stretch& stretch, bool guards) {
  OwnPages found;
  std::array<os::PageRegion, 512> regions;
  const auto guard = guards ? os::kPageIsGuard : 0;
  os::PagemapScan request;
  request.size = sizeof request;
  request.start = stretch.start;
  request.end = stretch.end;
  request.vec = reinterpret_cast<std::uintptr_t>(regions.data());
  request.vec_len = regions.size();
  request.category_inverted = os::kPageIsFile | os::kPageIsZero;
  request.category_mask = os::kPageIsFile | os::kPageIsZero;
  request.category_anyof_mask = stretch.shared ? guard : os::kPageIsPresent | os::kPageIsSwapped;
  request.return_mask = os::kPageIsPresent | os::kPageIsSwapped | guard;
  while (request.start < stretch.end) {
    const int count = ::ioctl(pagemap.get(), os::kPagemapScan, &request);
    if (count < 0) return ErrnoErr("PAGEMAP_SCAN");
    for (const auto& region : std::span(regions).first(static_cast<std::size_t>(count)))
      append_range((region.categories & guard) != 0 ? found.guards : found.pages, region.start, region.end);
    if (request.walk_end <= request.start) break;
    request.start = request.walk_end;
  }
  return found;
}

// Kernels before 6.7.
Result<OwnPages> read_entries(os::Fd pagemap, const Stretch& stretch) {
  constexpr std::uint64_t kPiece = 8192 * kPage;
  OwnPages found;
  for (std::uint64_t at = stretch.start; at < stretch.end;) {
    TRY_ASSIGN(const auto entries, os::read_pagemap(pagemap, {at, std::min(at + kPiece, stretch.end)}));
    for (auto entry : entries) {
      if ((entry & os::kPresentOrSwapped) != 0 && (entry & os::kPageOfFile) == 0)
        append_range(found.pages, at, at + kPage);
      at += kPage;
    }
  }
  return found;
}

// Which of the three this kernel has is found out once.
class PageFinder {
 public:
  Result<OwnPages> find(os::Fd pagemap, const Stretch& stretch) {
    if (way_ == Way::guards) {
      auto found = scan(pagemap, stretch, true);
      if (found || (found.error().code() != ENOTTY && found.error().code() != EINVAL)) return found;
      way_ = Way::scan;
    }
    if (stretch.shared) return OwnPages();
    if (way_ == Way::scan) {
      auto found = scan(pagemap, stretch, false);
      if (found || found.error().code() != ENOTTY) return found;
      way_ = Way::entries;
    }
    return read_entries(pagemap, stretch);
  }

 private:
  enum class Way { guards, scan, entries };
  std::atomic<Way> way_ = Way::guards;
};

// What of RANGES lies in MAPPING. From POSITION on, which goes on behind it: both are ascending.
std::vector<os::PageRange> part_in(const std::vector<os::PageRange>& ranges, const Mapping& mapping,
                                   std::size_t& position) {
  std::vector<os::PageRange> part;
  for (; position < ranges.size() && ranges[position].start < mapping.end; ++position) {
    const auto& range = ranges[position];
    if (range.end > mapping.start)
      part.push_back({std::max(range.start, mapping.start), std::min(range.end, mapping.end)});
    if (range.end > mapping.end) break;  // goes on in the next one
  }
  return part;
}

}  // namespace

Result<std::vector<OwnPages>> own_pages(os::Fd pagemap, std::span<const Mapping> mappings) {
  static PageFinder finder;
  std::vector<OwnPages> all;
  for (std::size_t first = 0; first < mappings.size();) {
    Stretch stretch{mappings[first].start, mappings[first].end, mappings[first].shared};
    std::size_t last = first + 1;
    for (; last < mappings.size() && mappings[last].start == stretch.end &&
           mappings[last].shared == stretch.shared;
         ++last)
      stretch.end = mappings[last].end;
    TRY_ASSIGN(const auto found, finder.find(pagemap, stretch));
    std::size_t page = 0, guard = 0;
    for (; first < last; ++first)
      all.push_back(
          {part_in(found.pages, mappings[first], page), part_in(found.guards, mappings[first], guard)});
  }
  return all;
}

}  // namespace upkeep::engine
