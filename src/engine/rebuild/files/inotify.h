#pragma once
// inotify(7).

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

// Watches have the numbers that they had; no event is waiting.
Result<os::UniqueFd> make_inotify(const Inotify& inotify);

}  // namespace upkeep::engine
