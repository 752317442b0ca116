#pragma once
// Time across a jump. CLOCK_REALTIME of the new kernel starts from a clock chip with a grain of a second, and
// CLOCK_MONOTONIC from zero; the processor's time stamp counter goes on counting through kexec and ties both
// together.

#include <time.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "common/result.h"

namespace upkeep::os {

inline constexpr std::int64_t kSecond = 1'000'000'000;  // in nanoseconds
timespec to_timespec(std::uint64_t ns);

std::int64_t realtime_ns();
std::int64_t monotonic_ns();
std::int64_t boottime_ns();
double milliseconds_since(std::int64_t begin);  // in nanoseconds, of monotonic_ns()
std::uint64_t tsc_ticks();                      // rdtsc, ordered after the loads before it

// All clocks, read as nearly at once as can be.
struct ClockReading {
  std::uint64_t tsc = 0;
  std::int64_t realtime_ns = 0;
  std::int64_t monotonic_ns = 0;
  std::int64_t boottime_ns = 0;
};
ClockReading read_clocks();
nlohmann::json to_json(const ClockReading& reading);
Result<ClockReading> clock_reading_from_json(const nlohmann::json& json);

// Ticks per second of the counter between two readings in the same kernel; none where they lie too close
// together (under 0.1 s) or the counter did not behave.
std::optional<double> tsc_frequency(const ClockReading& earlier, const ClockReading& later);

// What CLOCK_REALTIME should show now, in the new kernel, when BEFORE was read in the old one and the counter
// runs at FREQUENCY. None where the counter contradicts the clock chip by more than TOLERANCE_NS (it was
// reset, or it stops in sleep).
std::optional<std::int64_t> continued_realtime(const ClockReading& before, double frequency,
                                               const ClockReading& now,
                                               std::int64_t tolerance_ns = 3'000'000'000);

Result<void> set_realtime(std::int64_t realtime_ns);

}  // namespace upkeep::os
