#include "init/console.h"

#include <fcntl.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::init {

void say(const std::string& text) {
  const std::string line = "upkeep-init: " + text + "\n";
  (void)os::write_all(os::Fd(STDERR_FILENO), line);
  // Level 7 (debug): in the log, but not a second time on the console.
  if (auto kmsg = os::open_file("/dev/kmsg", O_WRONLY)) (void)os::write_all(*kmsg, "<7>" + line);
}

void EventQueue::emit(Event event) {
  if (event.time_ns == 0) event.time_ns = os::realtime_ns();
  if (event.kernel.empty()) event.kernel = os::kernel_release();
  if (event.kind == "warning" || event.kind == "stage_failed") say(event.stage + ": " + event.message);
  if (journal_) {
    if (auto written = journal_->append(event); !written) say("journal: " + written.error().message());
    return;
  }
  queued_.push_back(std::move(event));
}

Result<void> EventQueue::attach(const std::string& state_dir, const std::string& id) {
  TRY_ASSIGN(auto journal, operation::Journal::open(state_dir, id));
  for (auto& event : queued_) TRY(journal.append(std::move(event)));
  queued_.clear();
  journal_.emplace(std::move(journal));
  return {};
}

Result<void> EventQueue::sync() { return journal_ ? journal_->sync() : Result<void>(); }

}  // namespace upkeep::init
