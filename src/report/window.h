#pragma once
// Private to the room: which part of an upgrade is the window.

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "report/summary.h"

namespace upkeep::report {

// What the events say about it that is not in the stages themselves. Times are on the axis.
struct WindowNotes {
  std::optional<std::int64_t> begin, end;                         // facts window_begin_ns, window_end_ns
  std::vector<std::int64_t> uncounted;                            // where a clock was wrong
  std::vector<std::pair<std::size_t, std::vector<Part>>> inside;  // by index of the stage's run
};

// None where no task was ever stopped. SUMMARY is complete but for its window.
std::optional<Window> find_window(const Summary& summary, const WindowNotes& notes);

}  // namespace upkeep::report
