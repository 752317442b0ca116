#include "engine/native/inspect/own_pages.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <array>

#include "engine/native/model/snapshot.h"
#include "os/file.h"
#include "os/uapi_supplement.h"

namespace upkeep::native {
namespace {

// PAGEMAP_SCAN walks page tables, so that terabytes that were only reserved cost nothing. Private pages:
// there or swapped out, not the file's own, not the zero page.
Result<std::vector<PageRange>> scan(os::Fd pagemap, const Mapping& mapping) {
  std::vector<PageRange> ranges;
  std::array<os::PageRegion, 512> found;
  os::PagemapScan request;
  request.size = sizeof request;
  request.start = mapping.start;
  request.end = mapping.end;
  request.vec = reinterpret_cast<std::uintptr_t>(found.data());
  request.vec_len = found.size();
  request.category_inverted = os::kPageIsFile | os::kPageIsZero;
  request.category_mask = os::kPageIsFile | os::kPageIsZero;
  request.category_anyof_mask = os::kPageIsPresent | os::kPageIsSwapped;
  request.return_mask = os::kPageIsPresent | os::kPageIsSwapped;
  while (request.start < mapping.end) {
    const int count = ::ioctl(pagemap.get(), os::kPagemapScan, &request);
    if (count < 0) return ErrnoErr("PAGEMAP_SCAN");
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      if (!ranges.empty() && ranges.back().end == found[i].start)
        ranges.back().end = found[i].end;
      else
        ranges.push_back({found[i].start, found[i].end});
    }
    if (request.walk_end <= request.start) break;
    request.start = request.walk_end;
  }
  return ranges;
}

// Kernels before 6.7.
Result<std::vector<PageRange>> read_entries(os::Fd pagemap, const Mapping& mapping) {
  constexpr std::uint64_t kPresentOrSwapped = 3ULL << 62U, kOfFile = 1ULL << 61U;
  std::vector<PageRange> ranges;
  std::vector<std::uint64_t> entries(8192);
  for (std::uint64_t at = mapping.start; at < mapping.end;) {
    entries.resize(std::min<std::uint64_t>(8192, (mapping.end - at) / kPage));
    TRY(os::pread_all(pagemap, std::as_writable_bytes(std::span(entries)),
                      static_cast<off_t>(at / kPage * sizeof(std::uint64_t))));
    for (auto entry : entries) {
      if ((entry & kPresentOrSwapped) != 0 && (entry & kOfFile) == 0) {
        if (!ranges.empty() && ranges.back().end == at)
          ranges.back().end += kPage;
        else
          ranges.push_back({at, at + kPage});
      }
      at += kPage;
    }
  }
  return ranges;
}

}  // namespace

Result<std::vector<PageRange>> own_pages(os::Fd pagemap, const Mapping& mapping) {
  auto ranges = scan(pagemap, mapping);
  if (ranges || ranges.error().code() != ENOTTY) return ranges;
  return read_entries(pagemap, mapping);
}

}  // namespace upkeep::native
