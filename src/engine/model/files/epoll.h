#pragma once
// epoll(7).

#include <cstdint>
#include <vector>

#include "common/result.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

// One entry of an epoll set. The number is the one that the file had when it was added; another file may have
// it by now.
struct EpollWatch {
  std::int32_t fd = 0;
  std::uint32_t events = 0;
  std::uint64_t data = 0;
  std::uint32_t file = 0;   // index into Snapshot::files
  std::uint64_t inode = 0;  // of the file, while it is looked for
  bool operator==(const EpollWatch&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("fd", self.fd);
    visit("events", self.events);
    visit("data", self.data);
    visit("file", self.file);
  }
};

struct Epoll {
  std::vector<EpollWatch> watches;
  bool operator==(const Epoll&) const = default;
  static void fields(auto& self, auto& visit) { visit("watches", self.watches); }
};

Result<void> validate(const EpollWatch& epoll_watch, const KnownObjects& known);
// The order of its watches is of no meaning.
void make_comparable(Epoll& value, const Epoll* other, Comparison& comparison);

}  // namespace upkeep::engine
