#pragma once
// Undo from the journal: the one way back, whatever happened to the process that went forward.

#include <string>
#include <vector>

#include "operation/journal.h"
#include "operation/lock.h"
#include "operation/operation.h"

namespace upkeep::operation {

struct Stopped {
  std::string why;  // what stopped it, where no stage failed; empty for a dry run that went well
  bool dry_run = false;
};

// Undoes what the operation ID began and writes how it ended. False where it had ended already.
Result<bool> undo_from_journal(Journal& journal, const std::string& state_dir, const std::string& id,
                               const Stopped& stopped, const Operations& operations,
                               const std::string& run_directory = kRunDirectory);

// After a worker was killed: undoes the operation ID if its journal is unfinished, nobody works on it, and it
// is this kernel's to undo (Operation::handed_over). True where there was something to undo.
Result<bool> recover(const std::string& state_dir, const std::string& id, const Operations& operations,
                     const std::string& run_directory = kRunDirectory);
// All unfinished ones; their IDs. Nothing where an operation is under way.
Result<std::vector<std::string>> recover_all(const std::string& state_dir, const Operations& operations,
                                             const std::string& run_directory = kRunDirectory);

}  // namespace upkeep::operation
