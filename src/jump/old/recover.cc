#include "jump/old/recover.h"

#include "jump/old/undo.h"
#include "operation/journal.h"
#include "operation/lock.h"
#include "os/procfs.h"

namespace upkeep::jump {

Result<bool> recover(const std::string& state_dir, const std::string& id) {
  TRY_ASSIGN(auto events, operation::read_journal(operation::journal_path(state_dir, id)));
  const auto progress = operation::progress_of(events);
  if (progress.ended || (progress.jumped && progress.boot_id != os::boot_id())) return false;
  TRY_ASSIGN(auto lock, operation::MachineLock::acquire());
  TRY_ASSIGN(auto journal, operation::Journal::open(state_dir, id));
  return undo_from_journal(journal, state_dir, id, "the worker was killed", false);
}

Result<std::vector<std::string>> recover_all(const std::string& state_dir) {
  TRY_ASSIGN(auto ids, operation::list_upgrades(state_dir));
  std::vector<std::string> recovered;
  if (operation::machine_lock_holder() != 0) return recovered;
  for (const auto& id : ids) {
    TRY_ASSIGN(bool undone, recover(state_dir, id));
    if (undone) recovered.push_back(id);
  }
  return recovered;
}

}  // namespace upkeep::jump
