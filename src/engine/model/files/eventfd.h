#pragma once
// eventfd(2).

#include <cstdint>

namespace upkeep::engine {

// eventfd(2)
struct EventCounter {
  std::uint64_t count = 0;
  bool semaphore = false;
  bool operator==(const EventCounter&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("count", self.count);
    visit("semaphore", self.semaphore);
  }
};

}  // namespace upkeep::engine
