#pragma once
// Private to the room: the time axis of an upgrade, see summary.h.

#include <cstdint>
#include <optional>
#include <string>

#include "common/event.h"

namespace upkeep::report {

class Axis {
 public:
  // Moves on to EVENT and returns where it is. STEP_BEGIN is where the step began that EVENT ends, if it ends
  // one: its `data.duration_ns` is measured from there.
  std::int64_t advance(const Event& event, std::optional<std::int64_t> step_begin);

  std::int64_t now() const { return now_; }
  std::int64_t before() const { return before_; }  // where the event before the last one was
  // What was wrong with the clock at the last event, for people; empty where nothing was.
  const std::string& complaint() const { return complaint_; }

 private:
  std::int64_t credible_difference(const Event& event);

  bool started_ = false;
  std::int64_t now_ = 0, before_ = 0;
  std::int64_t clock_ns_ = 0;
  std::string kernel_;
  std::string complaint_;
};

// `data.NAME` where it is an integer that makes sense as nanoseconds (0 .. 1 year).
std::optional<std::int64_t> nanoseconds(const nlohmann::json& data, const char* name);

}  // namespace upkeep::report
