#include "engine/model/files/timerfd.h"

namespace upkeep::engine {

void make_comparable(TimerFile& value, const TimerFile*, Comparison&) { value.value = value.expirations = 0; }

}  // namespace upkeep::engine
