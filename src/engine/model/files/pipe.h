#pragma once
// Pipes and named pipes, pipe(7).

#include <cstdint>

#include "common/text.h"
#include "engine/model/document/comparison.h"

namespace upkeep::engine {

// A pipe is known by its inode: both ends, and both ends in several tasks, name the same one.
struct Pipe {
  std::uint64_t inode = 0;
  std::uint32_t capacity = 0;  // F_GETPIPE_SZ
  Bytes data;                  // unread
  bool operator==(const Pipe&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("inode", self.inode);
    visit("capacity", self.capacity);
    visit("data", self.data);
  }
};

void make_comparable(Pipe& value, const Pipe* other, Comparison& comparison);

}  // namespace upkeep::engine
