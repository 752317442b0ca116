#pragma once
// Images that were saved to disk because the new kernel could not restore from them: tried again, or deleted.

#include <string>

#include "common/result.h"
#include "operation/journal.h"

namespace upkeep::jump {

// `upkeep restore ID`: the images are deleted once the tasks run. The stages and what is undone of them after a failure
// go to JOURNAL.
Result<void> restore_saved_images(const std::string& state_dir, const std::string& id,
                                  operation::Journal& journal);

// `upkeep restore ID --discard`.
Result<void> discard_saved_images(const std::string& state_dir, const std::string& id);

}  // namespace upkeep::jump
