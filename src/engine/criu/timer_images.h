#pragma once
// timerfds in criu's images, before they cross. Two things go wrong with them in criu 4.1:
//  - A periodic one that has expired and not been read shows 0 as its remaining time (the kernel starts the
//  next period
//    when it is read), and criu arms it with that: never again. Any stopped task's short period ends like
//    that.
//  - For one armed with TFD_TIMER_ABSTIME criu adds the seconds of the remaining time to the clock, but not
//  the nanoseconds' carry:
//    up to a second early. As a relative time the same remaining time is right.

#include <string>
#include <string_view>

#include "common/result.h"

namespace upkeep::engine::criu {

// Corrects the timerfds of files.img in FOLDER. Nothing to correct: the file stays as it is.
Result<void> correct_timers(const std::string& folder);
// The same on the file's bytes. An image without any timer comes back unchanged.
Result<std::string> corrected_timers(std::string_view image);

}  // namespace upkeep::engine::criu
