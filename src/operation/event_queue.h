#pragma once
// Events of a process that begins before the file system is there that has the journal: kept in memory until
// then, and written in order; none is lost.

#include <optional>
#include <string>
#include <vector>

#include "common/event.h"
#include "operation/context.h"
#include "operation/journal.h"

namespace upkeep::operation {

class EventQueue {
 public:
  // ALSO hears every event at once, and what is wrong with the journal.
  explicit EventQueue(EventSink also = {}) : also_(std::move(also)) {}

  void emit(Event event);
  // From now on events go to the journal; those emitted so far first.
  Result<void> attach(const std::string& state_dir, const std::string& id);
  Result<void> sync();
  // Everything that was emitted, as undo in this process needs it.
  Progress progress() const { return progress_of(events_); }
  Record record();  // this object must outlive it

 private:
  EventSink also_;
  std::vector<Event> events_;
  std::optional<Journal> journal_;
};

}  // namespace upkeep::operation
