#pragma once
// What a time namespace adds to CLOCK_MONOTONIC and CLOCK_BOOTTIME, in nanoseconds: time_namespaces(7).

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

namespace upkeep::os {

struct ClockOffsets {
  std::int64_t monotonic = 0, boottime = 0;
};
Result<ClockOffsets> parse_clock_offsets(std::string_view text);
// Of the namespace that children of PID are born into, which is PID's own but right after unshare(2). 0: the
// caller. All zero where the kernel knows no such namespaces.
Result<ClockOffsets> clock_offsets(pid_t pid);
// Of the namespace that PID itself lives in.
Result<ClockOffsets> own_clock_offsets(pid_t pid);
// The text that timens_offsets takes.
std::string clock_offsets_text(const ClockOffsets& offsets);

}  // namespace upkeep::os
