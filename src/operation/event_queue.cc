#include "operation/event_queue.h"

#include "os/clock.h"
#include "os/procfs.h"

namespace upkeep::operation {

void EventQueue::emit(Event event) {
  if (event.time_ns == 0) event.time_ns = os::realtime_ns();
  if (event.kernel.empty()) event.kernel = os::kernel_release();
  if (also_) also_(event);
  events_.push_back(event);
  if (!journal_) return;
  if (auto written = journal_->append(std::move(event)); !written && also_)
    also_({"warning", "", "journal: " + written.error().message()});
}

Result<void> EventQueue::attach(const std::string& state_dir, const std::string& id) {
  TRY_ASSIGN(auto journal, Journal::open(state_dir, id));
  for (const auto& event : events_) TRY(journal.append(event));
  journal_.emplace(std::move(journal));
  return {};
}

Result<void> EventQueue::sync() { return journal_ ? journal_->sync() : Result<void>(); }

Record EventQueue::record() {
  return {[this](const Event& event) { emit(event); }, [this] { return sync(); }};
}

}  // namespace upkeep::operation
