#pragma once
// io_uring(7).

#include <cstdint>
#include <optional>
#include <vector>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

// io_uring(7), of which nothing is in flight.
struct IoUring {
  std::uint64_t inode = 0;             // of its file, by which mappings name it
  std::optional<std::uint32_t> flags;  // IORING_SETUP_ of io_uring_setup(2); none: this kernel does not tell
  std::uint32_t sq_entries = 0, cq_entries = 0;
  // What the kernel has counted of its own, modulo 2^32: requests taken, completions given.
  std::uint32_t sq_head = 0, cq_tail = 0;
  std::vector<std::uint32_t> places;  // of what lies in `rings`: NewRing of os/io_uring.h
  Bytes rings, entries;               // the memory that it shares with the program; whole pages
  bool operator==(const IoUring&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("inode", self.inode);
    visit("flags", self.flags);
    visit("sq_entries", self.sq_entries);
    visit("cq_entries", self.cq_entries);
    visit("sq_head", self.sq_head);
    visit("cq_tail", self.cq_tail);
    visit("places", self.places);
    visit("rings", self.rings);
    visit("entries", self.entries);
  }
};

// Nothing that lies in its memory lies outside, and what was counted can be counted again.
Result<void> validate(const IoUring& ring, const KnownObjects& known);
// A kernel need not say which flags it was made with (inspect/files/kernel_ring.h).
void make_comparable(IoUring& value, const IoUring* other, Comparison& comparison);

}  // namespace upkeep::engine
