#pragma once
// Undo from the journal: the one way back, whatever happened to the process that went forward.

#include <string>

#include "operation/journal.h"

namespace upkeep::jump {

// Undoes what upgrade ID began and writes how it ended. WHY: what stopped it, where no stage failed; empty
// for a DRY_RUN that went well. False where the upgrade had ended already.
Result<bool> undo_from_journal(operation::Journal& journal, const std::string& state_dir,
                               const std::string& id, const std::string& why, bool dry_run);

}  // namespace upkeep::jump
