#include "operation/undo.h"

#include <algorithm>

#include "operation/lock.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::operation {
namespace {

// The error that made a stage fail, or WHY.
std::string reason(const std::vector<Event>& events, const std::string& why) {
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    if (event->kind == "stage_failed") return fmt::format("{}: {}", event->stage, event->message);
  }
  return why;
}

// Whether a stage was begun that does more than look. One that is not known does.
bool touched(const Stages& stages, const Progress& progress) {
  return std::any_of(progress.begun.begin(), progress.begun.end(), [&](const auto& name) {
    const auto stage =
        std::find_if(stages.begin(), stages.end(), [&](const auto& one) { return one->name() == name; });
    return stage == stages.end() || (*stage)->changes_machine();
  });
}

}  // namespace

Result<bool> undo_from_journal(Journal& journal, const std::string& state_dir, const std::string& id,
                               const Stopped& stopped, const Operations& operations,
                               const std::string& run_directory) {
  TRY_ASSIGN(auto events, read_journal(journal_path(state_dir, id)));
  const auto progress = progress_of(events);
  if (progress.ended) return false;
  TRY_ASSIGN(const auto* operation, find_operation(operations, progress.kind));
  const EventSink sink = [&journal](const Event& event) { (void)journal.append(event); };
  const auto stages = operation->stages_for_undo();
  const std::string boot_id = os::boot_id();
  const bool good = undo_stages(stages, progress, boot_id, sink);
  const bool went_well = stopped.dry_run && stopped.why.empty();
  const std::string outcome = went_well ? "dry_run" : touched(stages, progress) ? "undone" : "failed_before";
  std::string message = went_well ? operation->dry_run_done() : reason(events, stopped.why);
  if (!good) message += "; some of it could not be undone, see above";
  if (progress.boot_id != boot_id) message += "; the machine was restarted meanwhile";
  sink({"upgrade_ended", "", message, {{"outcome", outcome}, {"exit_code", went_well && good ? 0 : 1}}});
  (void)os::remove_tree(run_directory + "/" + id);
  return true;
}

Result<bool> recover(const std::string& state_dir, const std::string& id, const Operations& operations,
                     const std::string& run_directory) {
  TRY_ASSIGN(auto events, read_journal(journal_path(state_dir, id)));
  const auto progress = progress_of(events);
  if (progress.ended) return false;
  TRY_ASSIGN(const auto* operation, find_operation(operations, progress.kind));
  if (operation->handed_over(progress)) return false;
  TRY_ASSIGN(auto lock, MachineLock::acquire(run_directory));
  TRY_ASSIGN(auto journal, Journal::open(state_dir, id));
  return undo_from_journal(journal, state_dir, id, {"the worker was killed", false}, operations,
                           run_directory);
}

Result<std::vector<std::string>> recover_all(const std::string& state_dir, const Operations& operations,
                                             const std::string& run_directory) {
  TRY_ASSIGN(auto ids, list_upgrades(state_dir));
  std::vector<std::string> recovered;
  if (machine_lock_holder(run_directory) != 0) return recovered;
  for (const auto& id : ids) {
    TRY_ASSIGN(bool undone, recover(state_dir, id, operations, run_directory));
    if (undone) recovered.push_back(id);
  }
  return recovered;
}

}  // namespace upkeep::operation
