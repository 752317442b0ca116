#pragma once
// What PID 1 says while there is nobody to log to: to the console and to the kernel's log, from where
// journald takes it later.

#include <string>

#include "common/event.h"
#include "operation/journal.h"

namespace upkeep::init {

// "upkeep-init: text" on the console (standard error) and in /dev/kmsg once that exists.
void say(const std::string& text);

// Events of the new kernel: kept in memory until the root file system and with it the journal is there, then
// written in order; none is lost.
class EventQueue {
 public:
  void emit(Event event);
  // From now on events go to the journal; those queued so far first.
  Result<void> attach(const std::string& state_dir, const std::string& id);
  Result<void> sync();
  EventSink sink() {
    return [this](const Event& event) { emit(event); };
  }

 private:
  std::vector<Event> queued_;
  std::optional<operation::Journal> journal_;
};

}  // namespace upkeep::init
