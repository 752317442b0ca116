#include "engine/tree/huge_pages.h"

#include <gtest/gtest.h>

namespace upkeep::engine {
namespace {

TEST(HugePages, ThoseThatAreThereAndThoseThatArePromised) {
  constexpr std::uint64_t kHuge = 2U << 20U;
  Snapshot snapshot;
  auto& memory = snapshot.processes.emplace_back().memory;
  memory.mappings = {
      {0, 3 * kHuge, true, true, false, false, 0, MappingKind::anonymous, "", 0, 0, {}},
      {4 * kHuge, 6 * kHuge, true, true, false, false, 0, MappingKind::anonymous, "", 0, 0, {"nr"}},
      {8 * kHuge, 9 * kHuge, true, true, false, true, kHuge, MappingKind::memfd, "", 1, 5, {}},
      {10 * kHuge, 11 * kHuge, true, true, false, false, 0, MappingKind::anonymous, "", 0, 0, {}}};
  for (std::size_t i = 0; i < 3; ++i) memory.mappings[i].huge_page = kHuge;
  memory.pages = {{0, 1, 0}, {5 * kHuge - kPage, 2, 0}};
  snapshot.kept_files = {
      {KeptKind::memfd, 1, 5, "", 8 * kHuge, 0600, 0, 0, 0, 0, {}, {{0, 1, 0}, {kHuge, 3, 0}}, kHuge},
      {KeptKind::segment, 1, 6, "", kHuge + 1, 0600, 0, 0, 0, 0, Segment{}, {}, kHuge},
      {KeptKind::shared_memory, 1, 7, "", kHuge, 0600, 0, 0, 0, 0, {}, {{0, 1, 0}}}};
  EXPECT_EQ(huge_pages_needed(snapshot), (HugePagesNeeded{{kHuge, 3 + 2 + 2 + 2}}));
  EXPECT_EQ(huge_pages_needed(snapshot, [](const KeptFile& kept) { return kept.kind == KeptKind::segment; }),
            (HugePagesNeeded{{kHuge, 3 + 2 + 2}}));
}

}  // namespace
}  // namespace upkeep::engine
