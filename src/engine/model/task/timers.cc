#include "engine/model/task/timers.h"

namespace upkeep::engine {

Result<void> validate(const PosixTimer& timer, const KnownObjects&) {
  if (timer.id < 0) return Err("no timer has the ID {}", timer.id);
  return {};
}

void make_comparable(IntervalTimer& value, const IntervalTimer*, Comparison&) { value.value = 0; }

void make_comparable(PosixTimer& value, const PosixTimer*, Comparison&) {
  value.value = 0, value.overrun = 0;
}

}  // namespace upkeep::engine
