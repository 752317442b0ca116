#include "engine/model/files/kept_files.h"

#include <algorithm>
#include <set>
#include <utility>

namespace upkeep::engine {

Result<void> validate(const std::vector<KeptFile>& files, const KnownObjects&) {
  std::set<std::pair<std::uint64_t, std::uint64_t>> known;
  for (const auto& kept : files) {
    if (!known.emplace(kept.device, kept.inode).second)
      return Err("kept file {}: it is listed twice", kept.inode);
  }
  return {};
}

Result<void> validate(const KeptFile& kept, const KnownObjects&) {
  if (kept.size > kHighestAddress) return Err("it is too large");
  if (kept.kind == KeptKind::segment && (!kept.segment || !std::in_range<std::int32_t>(kept.inode)))
    return Err("it says nothing about its segment");
  if (kept.huge_page != 0 && !is_huge_page(kept.huge_page))
    return Err("no pages are of {} bytes", kept.huge_page);
  const auto page = std::max(kept.huge_page, kPage);
  return check_pages(kept.pages, (kept.size + page - 1) / page * page);
}

void make_comparable(KeptFile& value, const KeptFile*, Comparison& comparison) {
  if (value.kind != KeptKind::segment) value.inode = comparison.kept_files(value.device, value.inode);
  value.device = 0;
  if (value.kind == KeptKind::unlinked) value.name.clear();
  value.pages.clear();
}

}  // namespace upkeep::engine
