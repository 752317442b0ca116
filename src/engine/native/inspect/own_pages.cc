#include "engine/native/inspect/own_pages.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <span>

#include "engine/native/model/snapshot.h"
#include "os/file.h"
#include "os/uapi_supplement.h"

namespace upkeep::native {
namespace {

struct OwnPages {
  std::vector<PageRange> pages, guards;
};

void append_range(std::vector<PageRange>& ranges, std::uint64_t start, std::uint64_t end) {
  if (!ranges.empty() && ranges.back().end == start)
    ranges.back().end = end;
  else
    ranges.push_back({start, end});
}

// PAGEMAP_SCAN walks page tables, so that terabytes that were only reserved cost nothing. Private pages:
// there or swapped out, not the file's own, not the zero page. GUARDS: whether this kernel tells guard
// regions (6.15); they look like swapped pages to those that do not.
Result<OwnPages> scan(os::Fd pagemap, const Mapping& mapping, bool guards) {
  OwnPages found;
  std::array<os::PageRegion, 512> regions;
  const auto guard = guards ? os::kPageIsGuard : 0;
  os::PagemapScan request;
  request.size = sizeof request;
  request.start = mapping.start;
  request.end = mapping.end;
  request.vec = reinterpret_cast<std::uintptr_t>(regions.data());
  request.vec_len = regions.size();
  request.category_inverted = os::kPageIsFile | os::kPageIsZero;
  request.category_mask = os::kPageIsFile | os::kPageIsZero;
  request.category_anyof_mask = mapping.shared ? guard : os::kPageIsPresent | os::kPageIsSwapped;
  request.return_mask = os::kPageIsPresent | os::kPageIsSwapped | guard;
  while (request.start < mapping.end) {
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
Result<OwnPages> read_entries(os::Fd pagemap, const Mapping& mapping) {
  constexpr std::uint64_t kPresentOrSwapped = 3ULL << 62U, kOfFile = 1ULL << 61U;
  OwnPages found;
  std::vector<std::uint64_t> entries(8192);
  for (std::uint64_t at = mapping.start; at < mapping.end;) {
    entries.resize(std::min<std::uint64_t>(8192, (mapping.end - at) / kPage));
    TRY(os::pread_all(pagemap, std::as_writable_bytes(std::span(entries)),
                      static_cast<off_t>(at / kPage * sizeof(std::uint64_t))));
    for (auto entry : entries) {
      if ((entry & kPresentOrSwapped) != 0 && (entry & kOfFile) == 0)
        append_range(found.pages, at, at + kPage);
      at += kPage;
    }
  }
  return found;
}

// Which of the three this kernel has is found out once.
class PageFinder {
 public:
  Result<OwnPages> find(os::Fd pagemap, const Mapping& mapping) {
    if (way_ == Way::guards) {
      auto found = scan(pagemap, mapping, true);
      if (found || (found.error().code() != ENOTTY && found.error().code() != EINVAL)) return found;
      way_ = Way::scan;
    }
    if (mapping.shared) return OwnPages();
    if (way_ == Way::scan) {
      auto found = scan(pagemap, mapping, false);
      if (found || found.error().code() != ENOTTY) return found;
      way_ = Way::entries;
    }
    return read_entries(pagemap, mapping);
  }

 private:
  enum class Way { guards, scan, entries };
  std::atomic<Way> way_ = Way::guards;
};

}  // namespace

Result<std::vector<PageRange>> own_pages(os::Fd pagemap, const Mapping& mapping,
                                         std::vector<PageRange>* guards) {
  static PageFinder finder;
  TRY_ASSIGN(auto found, finder.find(pagemap, mapping));
  if (guards != nullptr) *guards = std::move(found.guards);
  return std::move(found.pages);
}

}  // namespace upkeep::native
