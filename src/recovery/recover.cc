#include "recovery/recover.h"

#include "landing/journal.h"
#include "os/procfs.h"
#include "upgrade/lock.h"
#include "upgrade/undo.h"

namespace upkeep::recovery {

Result<bool> recover(const std::string& state_dir, const std::string& id) {
  TRY_ASSIGN(auto events, landing::read_journal(landing::journal_path(state_dir, id)));
  const auto progress = landing::progress_of(events);
  if (progress.ended || (progress.jumped && progress.boot_id != os::boot_id())) return false;
  TRY_ASSIGN(auto lock, upgrade::MachineLock::acquire());
  TRY_ASSIGN(auto journal, landing::Journal::open(state_dir, id));
  return upgrade::undo_from_journal(journal, state_dir, id, "the worker was killed", false);
}

Result<std::vector<std::string>> recover_all(const std::string& state_dir) {
  TRY_ASSIGN(auto ids, landing::list_upgrades(state_dir));
  std::vector<std::string> recovered;
  if (upgrade::machine_lock_holder() != 0) return recovered;
  for (const auto& id : ids) {
    TRY_ASSIGN(bool undone, recover(state_dir, id));
    if (undone) recovered.push_back(id);
  }
  return recovered;
}

}  // namespace upkeep::recovery
