#include "os/io_uring.h"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "common/page_size.h"

namespace upkeep::os {
namespace {

std::size_t whole_pages(std::size_t bytes) { return (bytes + kPageSize - 1) / kPageSize * kPageSize; }

std::size_t entry_size(const RingShape& shape) { return (shape.flags & kRingSqe128) != 0 ? 128 : 64; }

Result<std::span<std::byte>> map_part(Fd ring, std::size_t size, std::uint64_t offset) {
  void* view = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.get(),
                      static_cast<off_t>(offset));
  if (view == MAP_FAILED) return ErrnoErr("mmap {} bytes of an io_uring", size);
  return std::span(static_cast<std::byte*>(view), size);
}

}  // namespace

Result<NewRing> make_ring(const RingShape& shape) {
  io_uring_params parameters = {};
  parameters.flags = shape.flags;
  if ((shape.flags & kRingCqSize) != 0) parameters.cq_entries = shape.cq_entries;
  NewRing made;
  made.fd.reset(static_cast<int>(::syscall(SYS_io_uring_setup, shape.sq_entries, &parameters)));
  if (!made.fd.valid()) return ErrnoErr("io_uring_setup({}, flags {:#x})", shape.sq_entries, shape.flags);
  if (parameters.sq_entries != shape.sq_entries || parameters.cq_entries != shape.cq_entries)
    return Err("an io_uring with {} and {} entries instead of {} and {}", parameters.sq_entries,
               parameters.cq_entries, shape.sq_entries, shape.cq_entries);
  const auto& sq = parameters.sq_off;
  const auto& cq = parameters.cq_off;
  made.places = {sq.head, sq.tail, sq.ring_mask, sq.ring_entries, sq.flags,    sq.dropped, sq.array,
                 cq.head, cq.tail, cq.ring_mask, cq.ring_entries, cq.overflow, cq.cqes,    cq.flags};
  return made;
}

std::size_t rings_size(const RingShape& shape, const std::vector<std::uint32_t>& places) {
  const std::size_t completion = (shape.flags & kRingCqe32) != 0 ? 32 : 16;
  auto end = places.at(kCqCompletions) + completion * shape.cq_entries;
  if ((shape.flags & kRingNoSqArray) == 0)
    end = std::max(end, places.at(kSqArray) + sizeof(std::uint32_t) * shape.sq_entries);
  return whole_pages(end);
}

std::size_t entries_size(const RingShape& shape) { return whole_pages(shape.sq_entries * entry_size(shape)); }

Result<RingMemory> RingMemory::map(Fd ring, std::size_t rings, std::size_t entries) {
  RingMemory memory;
  TRY_ASSIGN(memory.rings_, map_part(ring, rings, IORING_OFF_SQ_RING));
  TRY_ASSIGN(memory.entries_, map_part(ring, entries, IORING_OFF_SQES));
  return memory;
}

RingMemory::RingMemory(RingMemory&& other) noexcept
    : rings_(std::exchange(other.rings_, {})), entries_(std::exchange(other.entries_, {})) {}

RingMemory::~RingMemory() {
  for (const auto part : {rings_, entries_}) {
    if (!part.empty()) ::munmap(part.data(), part.size());
  }
}

Result<void> advance_ring(Fd ring, const RingShape& shape, const std::vector<std::uint32_t>& places,
                          const RingMemory& memory, const RingCounters& wanted) {
  const auto word = [&](std::size_t place) {
    return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(memory.rings().data() + places.at(place)));
  };
  if (places.size() != kRingPlaces || wanted.completions > wanted.requests)
    return Err("an io_uring with more completions than requests");
  const auto stride = entry_size(shape);
  std::fill(memory.entries().begin(), memory.entries().end(), std::byte{0});  // IORING_OP_NOP
  for (std::uint32_t i = 0; i < shape.sq_entries; ++i) {
    if ((shape.flags & kRingNoSqArray) == 0)
      std::memcpy(memory.rings().data() + places[kSqArray] + std::size_t{i} * sizeof i, &i, sizeof i);
  }
  const auto silent = [&](bool on) {
    for (std::uint32_t i = 0; i < shape.sq_entries; ++i)
      memory.entries()[i * stride + offsetof(io_uring_sqe, flags)] =
          on ? std::byte{IOSQE_CQE_SKIP_SUCCESS} : std::byte{0};
  };
  const auto skipped = wanted.requests - wanted.completions;
  if (skipped != 0) silent(true);
  for (std::uint32_t done = 0; done < wanted.requests;) {
    // Those that leave nothing come first. The ring of completions never overflows: it has as many places as
    // are submitted at once, and all but the last ones are read.
    const auto end = done < skipped ? skipped : wanted.requests;
    const std::uint32_t unread = word(kCqTail) - word(kCqHead);
    const auto room = done < skipped ? shape.cq_entries : shape.cq_entries - unread;
    const auto count = std::min({end - done, shape.sq_entries, room});
    if (count == 0) return Err("an io_uring with more unread completions than there is room for");
    word(kSqTail) = done + count;
    const auto submitted = ::syscall(SYS_io_uring_enter, ring.get(), count, 0, 0, nullptr, 0);
    if (submitted < 0) return ErrnoErr("io_uring_enter");
    if (submitted != count || word(kSqHead) != done + count) return Err("an io_uring takes no requests");
    done += count;
    word(kCqHead) = std::min(word(kCqTail).load(), wanted.read);
    if (done == skipped) silent(false);
  }
  if (word(kCqTail) != wanted.completions) return Err("an io_uring has lost completions");
  return {};
}

}  // namespace upkeep::os
