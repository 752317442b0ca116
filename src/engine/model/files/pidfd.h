#pragma once
// pidfd_open(2).

#include <cstdint>

#include "engine/model/document/comparison.h"

namespace upkeep::engine {

// pidfd_open(2). Of a task that is not part of the tree, START_TIME tells it from a later one with its ID.
struct PidFile {
  std::int32_t pid = 0;          // 0: it had ended and been waited for
  std::uint64_t start_time = 0;  // field 22 of /proc/PID/stat
  bool operator==(const PidFile&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pid", self.pid);
    visit("start_time", self.start_time);
  }
};

// The process may have ended.
void make_comparable(PidFile& value, const PidFile* other, Comparison& comparison);

}  // namespace upkeep::engine
