#pragma once
// signalfd(2).

#include <cstdint>

namespace upkeep::engine {

struct SignalFile {
  std::uint64_t mask = 0;  // bit 0: signal 1
  bool operator==(const SignalFile&) const = default;
  static void fields(auto& self, auto& visit) { visit("mask", self.mask); }
};

}  // namespace upkeep::engine
