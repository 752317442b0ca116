#pragma once
// After a worker was killed: its upgrade is undone from the journal.

#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::jump {

// Undoes the upgrade ID if its journal is unfinished and nobody works on it. True where there was something
// to undo.
Result<bool> recover(const std::string& state_dir, const std::string& id);
// All unfinished ones; their IDs. Nothing where an upgrade is under way.
Result<std::vector<std::string>> recover_all(const std::string& state_dir);

}  // namespace upkeep::jump
