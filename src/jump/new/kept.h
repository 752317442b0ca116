#pragma once
// Images that were kept on disk because the new kernel could not restore from them: tried again, or deleted.

#include <string>

#include "common/event.h"
#include "common/result.h"

namespace upkeep::jump {

// `upkeep restore ID`: the images are deleted once the tasks run. The machine's network is up already and
// stays as it is, but for the moment in which sockets come back.
Result<void> restore_kept(const std::string& state_dir, const std::string& id, const EventSink& emit);

// `upkeep restore ID --discard`.
Result<void> discard_kept(const std::string& state_dir, const std::string& id);

}  // namespace upkeep::jump
