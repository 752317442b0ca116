#pragma once
// timerfd_create(2).

#include <cstdint>

#include "engine/model/document/comparison.h"

namespace upkeep::engine {

// timerfd_create(2); times in nanoseconds.
struct TimerFile {
  std::int32_t clock = 0;
  std::uint64_t expirations = 0;  // not read yet
  std::uint32_t settime_flags = 0;
  std::uint64_t value = 0, interval = 0;  // time left; 0: disarmed
  bool operator==(const TimerFile&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("clock", self.clock);
    visit("expirations", self.expirations);
    visit("settime_flags", self.settime_flags);
    visit("value", self.value);
    visit("interval", self.interval);
  }
};

// Time goes on.
void make_comparable(TimerFile& value, const TimerFile* other, Comparison& comparison);

}  // namespace upkeep::engine
