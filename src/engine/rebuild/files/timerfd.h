#pragma once
// Files that hold a time, a counter or a set of signals: timerfd_create(2), eventfd(2), signalfd(2).

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

// Set, with as many expirations as nobody has read. A point in time is as far away as it was.
Result<os::UniqueFd> make_timerfd(const TimerFile& timer);
Result<os::UniqueFd> make_eventfd(const EventCounter& counter);
Result<os::UniqueFd> make_signalfd(const SignalFile& file);

}  // namespace upkeep::engine
