#include "engine/model/files/pidfd.h"

namespace upkeep::engine {

void make_comparable(PidFile& value, const PidFile*, Comparison& comparison) {
  if (!comparison.tasks.contains(value.pid)) value.pid = 0;
  value.start_time = 0;
}

}  // namespace upkeep::engine
