#pragma once
// signal(7), as one process handles them.

#include <cstdint>
#include <vector>

#include "common/text.h"

namespace upkeep::engine {

// sigaction(2) as the kernel keeps it.
struct SignalAction {
  std::uint64_t handler = 0, flags = 0, restorer = 0, mask = 0;
  bool operator==(const SignalAction&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("handler", self.handler);
    visit("flags", self.flags);
    visit("restorer", self.restorer);
    visit("mask", self.mask);
  }
};

struct AlternateStack {
  std::uint64_t pointer = 0, size = 0;
  std::int32_t flags = 0;
  bool operator==(const AlternateStack&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pointer", self.pointer);
    visit("size", self.size);
    visit("flags", self.flags);
  }
};

// Without those signals (siginfo_t each) that timers send: timers run while the tasks stand still.
void forget_signals_of_timers(std::vector<Bytes>& pending);

}  // namespace upkeep::engine
