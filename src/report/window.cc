#include "report/window.h"

#include <algorithm>
#include <limits>

namespace upkeep::report {
namespace {

class WindowFinder {
 public:
  WindowFinder(const Summary& summary, const WindowNotes& notes) : summary_(summary), notes_(notes) {}
  std::optional<Window> find() const;

 private:
  void find_end(const StageRun& park, Window& window) const;
  std::vector<Part> cuts_of(const Window& window) const;
  static void measure(std::vector<Part>& cuts, const Window& window);

  const Summary& summary_;
  const WindowNotes& notes_;
};

void WindowFinder::find_end(const StageRun& park, Window& window) const {
  const StageRun* restore = nullptr;
  const StageRun* resume = nullptr;
  for (const auto& run : summary_.stages) {
    if (run.begin_ns < window.begin_ns) continue;
    if (run.side == Side::new_kernel) window.crossed = true;
    if (run.name == "restore") restore = &run;
    if (run.name == "resume") resume = &run;
  }
  // Where nobody says that they ran again: until the last stage that is known of.
  std::int64_t end = summary_.outcome == Outcome::running ? summary_.length_ns : window.begin_ns;
  for (const auto& run : summary_.stages) {
    end = std::max({end, run.end_ns, run.undo ? run.undo->end_ns : 0});
  }
  if (resume != nullptr && resume->state == StepState::done) {
    end = notes_.end && *notes_.end >= resume->begin_ns ? *notes_.end : resume->end_ns;
    window.closed = true;
  } else if (!window.crossed && park.undo && park.undo->state == StepState::done) {
    end = park.undo->end_ns;
    window.closed = true;
  } else if (!window.crossed && park.state == StepState::failed && !park.undo) {
    end = park.end_ns;  // a stage that fails has cleaned up after itself
    window.closed = true;
  } else if (restore != nullptr && restore->state == StepState::failed) {
    end = restore->end_ns;
  }
  window.length_ns = std::max<std::int64_t>(0, end - window.begin_ns);
}

// Where each part begins; the stages that it overlaps, the undoing, and the time in which nobody did
// anything.
std::vector<Part> WindowFinder::cuts_of(const Window& window) const {
  std::vector<Part> cuts;
  std::int64_t end = window.begin_ns + window.length_ns;
  std::optional<std::int64_t> first_undo;
  for (std::size_t i = 0; i < summary_.stages.size(); ++i) {
    const StageRun& run = summary_.stages[i];
    if (run.undo && run.undo->begin_ns >= window.begin_ns) {
      first_undo =
          std::min(first_undo.value_or(std::numeric_limits<std::int64_t>::max()), run.undo->begin_ns);
    }
    bool opens_window = run.name == "park" && run.begin_ns < window.begin_ns && run.end_ns >= window.begin_ns;
    if (run.begin_ns >= end || (run.begin_ns < window.begin_ns && !opens_window)) continue;
    cuts.push_back({run.name, std::max(run.begin_ns, window.begin_ns), 0, run.side, {}});
    for (const auto& [stage, parts] : notes_.inside) {
      if (stage == i) cuts.back().inside = parts;
    }
    bool gave_up = run.state == StepState::failed || run.state == StepState::interrupted;
    if (gave_up && run.side == Side::new_kernel && run.end_ns < end) {
      cuts.push_back({"waiting", run.end_ns, 0, run.side, {}});
    }
  }
  if (first_undo && *first_undo < end) cuts.push_back({"undo", *first_undo, 0, Side::old_kernel, {}});
  std::stable_sort(cuts.begin(), cuts.end(),
                   [](const Part& a, const Part& b) { return a.begin_ns < b.begin_ns; });
  return cuts;
}

// Each part lasts until the next one begins: so their sum is the window, whatever the events say.
void WindowFinder::measure(std::vector<Part>& cuts, const Window& window) {
  if (!cuts.empty()) cuts.front().begin_ns = window.begin_ns;
  const std::int64_t end = window.begin_ns + window.length_ns;
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    Part& part = cuts[i];
    part.length_ns = (i + 1 < cuts.size() ? cuts[i + 1].begin_ns : end) - part.begin_ns;
    std::int64_t left = part.length_ns, at = part.begin_ns;
    for (auto& piece : part.inside) {
      piece.begin_ns = at;
      piece.side = part.side;
      at += piece.length_ns;
      left -= piece.length_ns;
    }
    if (left < 0) part.inside.clear();  // they claim more than there is: not to be shown as a division of it
    if (left > 0 && !part.inside.empty()) part.inside.push_back({"other", at, left, part.side, {}});
  }
}

std::optional<Window> WindowFinder::find() const {
  auto park = std::find_if(summary_.stages.rbegin(), summary_.stages.rend(),
                           [](const StageRun& run) { return run.name == "park"; });
  if (park == summary_.stages.rend()) return std::nullopt;
  Window window;
  window.begin_ns = std::max(park->begin_ns, notes_.begin.value_or(0));
  find_end(*park, window);
  window.parts = cuts_of(window);
  measure(window.parts, window);
  for (std::int64_t at : notes_.uncounted) {
    if (at > window.begin_ns && at <= window.begin_ns + window.length_ns) window.exact = false;
  }
  // Two stages without length at the very end may leave nothing to cut; the sum stays true all the same.
  if (window.parts.empty())
    window.parts.push_back({"park", window.begin_ns, window.length_ns, park->side, {}});
  return window;
}

}  // namespace

std::optional<Window> find_window(const Summary& summary, const WindowNotes& notes) {
  return WindowFinder(summary, notes).find();
}

}  // namespace upkeep::report
