#include "os/clock.h"

#include <time.h>
#include <x86intrin.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace upkeep::os {
namespace {

std::int64_t read_clock(clockid_t clock) {
  timespec now = {};
  ::clock_gettime(clock, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

}  // namespace

timespec to_timespec(std::uint64_t ns) {
  constexpr auto kEach = static_cast<std::uint64_t>(kSecond);
  return {static_cast<time_t>(ns / kEach), static_cast<long>(ns % kEach)};
}

std::int64_t realtime_ns() { return read_clock(CLOCK_REALTIME); }
std::int64_t monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }
std::int64_t boottime_ns() { return read_clock(CLOCK_BOOTTIME); }

double milliseconds_since(std::int64_t begin) { return static_cast<double>(monotonic_ns() - begin) / 1e6; }

std::uint64_t tsc_ticks() {
  unsigned processor = 0;
  return __rdtscp(&processor);
}

ClockReading read_clocks() { return {tsc_ticks(), realtime_ns(), monotonic_ns(), boottime_ns()}; }

nlohmann::json to_json(const ClockReading& reading) {
  return {{"tsc", reading.tsc},
          {"realtime_ns", reading.realtime_ns},
          {"monotonic_ns", reading.monotonic_ns},
          {"boottime_ns", reading.boottime_ns}};
}

Result<ClockReading> clock_reading_from_json(const nlohmann::json& json) {
  try {
    return ClockReading{json.at("tsc").get<std::uint64_t>(), json.at("realtime_ns").get<std::int64_t>(),
                        json.at("monotonic_ns").get<std::int64_t>(),
                        json.at("boottime_ns").get<std::int64_t>()};
  } catch (const nlohmann::json::exception& error) {
    return Err("clock reading: {}", error.what());
  }
}

std::optional<double> tsc_frequency(const ClockReading& earlier, const ClockReading& later) {
  const std::int64_t elapsed = later.monotonic_ns - earlier.monotonic_ns;
  if (elapsed < kSecond / 10 || later.tsc <= earlier.tsc) return std::nullopt;
  return static_cast<double>(later.tsc - earlier.tsc) * 1e9 / static_cast<double>(elapsed);
}

std::optional<std::int64_t> continued_realtime(const ClockReading& before, double frequency,
                                               const ClockReading& now, std::int64_t tolerance_ns) {
  if (frequency <= 0 || now.tsc <= before.tsc) return std::nullopt;
  const auto elapsed = static_cast<std::int64_t>(static_cast<double>(now.tsc - before.tsc) / frequency * 1e9);
  const std::int64_t continued = before.realtime_ns + elapsed;
  if (std::abs(continued - now.realtime_ns) > tolerance_ns) return std::nullopt;
  return continued;
}

Result<void> set_realtime(std::int64_t realtime_ns) {
  timespec time = {realtime_ns / kSecond, realtime_ns % kSecond};
  if (::clock_settime(CLOCK_REALTIME, &time) < 0) return ErrnoErr("set CLOCK_REALTIME");
  return {};
}

}  // namespace upkeep::os
