#include "jump/old/undo.h"

#include <algorithm>

#include "jump/old/stage.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::jump {
namespace {

// The error that made a stage fail, or WHY.
std::string reason(const std::vector<Event>& events, const std::string& why) {
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    if (event->kind == "stage_failed") return fmt::format("{}: {}", event->stage, event->message);
  }
  return why;
}

}  // namespace

Result<bool> undo_from_journal(operation::Journal& journal, const std::string& state_dir,
                               const std::string& id, const std::string& why, bool dry_run) {
  TRY_ASSIGN(auto events, operation::read_journal(operation::journal_path(state_dir, id)));
  const auto progress = operation::progress_of(events);
  if (progress.ended) return false;
  const EventSink sink = [&journal](const Event& event) { (void)journal.append(event); };
  // Files, mounts, rules and pages of an earlier boot are gone with it.
  const bool same_boot = progress.boot_id == os::boot_id();
  const bool good = !same_boot || undo_stages(old_kernel_stages(), progress, sink);
  const bool touched = std::any_of(progress.begun.begin(), progress.begun.end(),
                                   [](const auto& stage) { return stage != "check"; });
  const std::string outcome = dry_run && why.empty() ? "dry_run" : touched ? "undone" : "failed_before";
  std::string message = dry_run && why.empty() ? "dry run: everything was undone, the carried tasks run on"
                                               : reason(events, why);
  if (!good) message += "; some of it could not be undone, see above";
  if (!same_boot) message += "; the machine was restarted meanwhile";
  sink({"upgrade_ended",
        "",
        message,
        {{"outcome", outcome}, {"exit_code", dry_run && why.empty() && good ? 0 : 1}}});
  (void)os::remove_tree(fmt::format("/run/upkeep/{}", id));
  return true;
}

}  // namespace upkeep::jump
