#pragma once
// Timers of a process: setitimer(2), timer_create(2).

#include <cstdint>

#include "common/result.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

// setitimer(2), microseconds.
struct IntervalTimer {
  std::uint64_t value = 0, interval = 0;
  bool operator==(const IntervalTimer&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("value", self.value);
    visit("interval", self.interval);
  }
};

// timer_create(2); times in nanoseconds.
struct PosixTimer {
  std::int32_t id = 0, clock = 0, signal = 0, notify = 0, thread = 0;
  std::uint64_t sigval = 0;
  std::uint64_t value = 0, interval = 0;
  std::int32_t overrun = 0;
  bool operator==(const PosixTimer&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("id", self.id);
    visit("clock", self.clock);
    visit("signal", self.signal);
    visit("notify", self.notify);
    visit("thread", self.thread);
    visit("sigval", self.sigval);
    visit("value", self.value);
    visit("interval", self.interval);
    visit("overrun", self.overrun);
  }
};

Result<void> validate(const PosixTimer& timer, const KnownObjects& known);
// Time goes on.
void make_comparable(IntervalTimer& value, const IntervalTimer* other, Comparison& comparison);
void make_comparable(PosixTimer& value, const PosixTimer* other, Comparison& comparison);

}  // namespace upkeep::engine
