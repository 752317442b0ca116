#include "engine/model/task/scheduling.h"

namespace upkeep::engine {

void make_comparable(Scheduling& value, const Scheduling*, Comparison&) {
  constexpr int kClassShift = 13;                                    // linux/ioprio.h
  if (value.io_priority >> kClassShift == 0) value.io_priority = 0;  // IOPRIO_CLASS_NONE
  // Real-time tasks have no slack; from 6.14 on the kernel says so.
  constexpr std::uint32_t kFifo = 1, kRoundRobin = 2, kDeadline = 6;
  if (value.policy == kFifo || value.policy == kRoundRobin || value.policy == kDeadline)
    value.timer_slack = 0;
}

}  // namespace upkeep::engine
