#include "engine/model/files/io_uring.h"

#include <bit>

#include "engine/model/memory/pages.h"

namespace upkeep::engine {

Result<void> validate(const IoUring& ring, const KnownObjects&) {
  constexpr std::uint32_t kMostEntries = 1U << 15U, kMostRequests = 1U << 26U;  // IORING_MAX_ENTRIES
  constexpr std::size_t kPlaces = 14, kArray = 6, kCompletions = 12;
  const auto good = [](std::uint32_t entries, std::uint32_t most) {
    return entries != 0 && entries <= most && std::has_single_bit(entries);
  };
  if (!good(ring.sq_entries, kMostEntries) || !good(ring.cq_entries, 2 * kMostEntries))
    return Err("a ring of {} and {} entries", ring.sq_entries, ring.cq_entries);
  if (ring.places.size() != kPlaces) return Err("a ring of an unknown form");
  const auto rings = ring.rings.data.size(), entries = ring.entries.data.size();
  constexpr std::uint64_t kMostOfBoth = 16ULL << 20U;
  if (rings % kPage != 0 || entries % kPage != 0 || rings > kMostOfBoth || entries > kMostOfBoth ||
      entries < std::size_t{ring.sq_entries} * 64)
    return Err("a ring in {} and {} bytes", rings, entries);
  for (std::size_t i = 0; i < kPlaces; ++i) {
    const std::size_t length = i == kArray ? 0 : i == kCompletions ? std::size_t{ring.cq_entries} * 16 : 4;
    if (ring.places[i] % 4 != 0 || ring.places[i] > rings || rings - ring.places[i] < length)
      return Err("a ring whose parts lie outside of it");
  }
  if (ring.sq_head > kMostRequests || ring.cq_tail > ring.sq_head)
    return Err("a ring of {} requests and {} completions", ring.sq_head, ring.cq_tail);
  return {};
}

void make_comparable(IoUring& value, const IoUring* other, Comparison& comparison) {
  value.inode = comparison.rings(value.inode);
  if (other != nullptr && !other->flags) value.flags.reset();
}

}  // namespace upkeep::engine
