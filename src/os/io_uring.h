#pragma once
// io_uring instances of our own, and the memory of anybody's that we have a descriptor of: io_uring_setup(2),
// io_uring(7).

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// IORING_SETUP_ flags of linux/io_uring.h, and from which version on.
inline constexpr std::uint32_t kRingIoPoll = 1U << 0U, kRingSqPoll = 1U << 1U, kRingCqSize = 1U << 3U,
                               kRingClamp = 1U << 4U, kRingDisabled = 1U << 6U,
                               kRingSubmitAll = 1U << 7U,                                  // 5.18
    kRingCoopTaskrun = 1U << 8U, kRingTaskrunFlag = 1U << 9U, kRingSqe128 = 1U << 10U,     // 5.19
    kRingCqe32 = 1U << 11U, kRingSingleIssuer = 1U << 12U, kRingDeferTaskrun = 1U << 13U,  // 5.19, 6.0, 6.1
    kRingNoMmap = 1U << 14U, kRingRegisteredOnly = 1U << 15U, kRingNoSqArray = 1U << 16U;  // 6.5, 6.5, 6.6

// What a ring looks like from the outset. The numbers are powers of two.
struct RingShape {
  std::uint32_t flags = 0, sq_entries = 0, cq_entries = 0;
};

// What lies in its memory: sq_off and cq_off of struct io_uring_params, each in its order.
enum RingPlace : std::size_t {
  kSqHead,
  kSqTail,
  kSqMask,
  kSqEntries,
  kSqFlags,
  kSqDropped,
  kSqArray,
  kCqHead,
  kCqTail,
  kCqMask,
  kCqEntries,
  kCqOverflow,
  kCqCompletions,
  kCqFlags,
  kRingPlaces
};

struct NewRing {
  UniqueFd fd;
  std::vector<std::uint32_t> places;  // where the kernel says that lies, by RingPlace
};
// The error says if this kernel does not know one of the flags (EINVAL), or may not be asked (EPERM:
// kernel.io_uring_disabled).
Result<NewRing> make_ring(const RingShape& shape);

// Bytes of the two stretches of memory that a ring has, which tasks map: the rings themselves, and the
// entries that are submitted; whole pages.
std::size_t rings_size(const RingShape& shape, const std::vector<std::uint32_t>& places);
std::size_t entries_size(const RingShape& shape);

// A view of them in our own memory.
class RingMemory {
 public:
  static Result<RingMemory> map(Fd ring, std::size_t rings, std::size_t entries);
  RingMemory(RingMemory&& other) noexcept;
  RingMemory& operator=(RingMemory&&) = delete;
  ~RingMemory();
  std::span<std::byte> rings() const { return rings_; }
  std::span<std::byte> entries() const { return entries_; }

 private:
  RingMemory() = default;
  std::span<std::byte> rings_, entries_;
};

// The kernel counts what was ever submitted and completed, from zero on, with 32 bits: makes REQUESTS
// requests that do nothing, COMPLETIONS of which leave a completion. READ: how many completions will have
// been read in the end. What is in the ring's memory afterwards is to be overwritten.
struct RingCounters {
  std::uint32_t requests = 0, completions = 0, read = 0;
};
Result<void> advance_ring(Fd ring, const RingShape& shape, const std::vector<std::uint32_t>& places,
                          const RingMemory& memory, const RingCounters& wanted);

}  // namespace upkeep::os
