#pragma once
// sched(7).

#include <cstdint>

#include "common/text.h"
#include "engine/model/document/comparison.h"

namespace upkeep::engine {

// sched(7)
struct Scheduling {
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0, deadline = 0, period = 0;
  Bytes affinity;
  std::int32_t io_priority = 0;
  std::uint64_t timer_slack = 0;  // ns
  bool operator==(const Scheduling&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("policy", self.policy);
    visit("flags", self.flags);
    visit("nice", self.nice);
    visit("priority", self.priority);
    visit("runtime", self.runtime);
    visit("deadline", self.deadline);
    visit("period", self.period);
    visit("affinity", self.affinity);
    visit("io_priority", self.io_priority);
    visit("timer_slack", self.timer_slack);
  }
};

// What one kernel says of a task that has not set anything, and another one does not.
void make_comparable(Scheduling& value, const Scheduling* other, Comparison& comparison);

}  // namespace upkeep::engine
