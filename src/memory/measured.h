#pragma once
// How long a piece of work took and how much it moved: facts for the event log.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>

namespace upkeep::memory {

struct Measured {
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
  std::uint64_t threads = 0;
  std::chrono::nanoseconds time{0};  // wall clock

  double seconds() const { return std::chrono::duration<double>(time).count(); }
  nlohmann::json to_json() const {
    return {{"bytes", bytes}, {"files", files}, {"threads", threads}, {"seconds", seconds()}};
  }
  Measured& operator+=(const Measured& other) {
    bytes += other.bytes;
    files += other.files;
    threads = std::max(threads, other.threads);
    time += other.time;
    return *this;
  }
};

class Stopwatch {
 public:
  std::chrono::nanoseconds elapsed() const { return std::chrono::steady_clock::now() - begun_; }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace upkeep::memory
