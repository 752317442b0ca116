#include "init/console.h"

#include <fcntl.h>
#include <unistd.h>

#include "os/file.h"

namespace upkeep::init {

void say(const std::string& text) {
  const std::string line = "upkeep-init: " + text + "\n";
  (void)os::write_all(os::Fd(STDERR_FILENO), line);
  // Level 7 (debug): in the log, but not a second time on the console.
  if (auto kmsg = os::open_file("/dev/kmsg", O_WRONLY)) (void)os::write_all(*kmsg, "<7>" + line);
}

void say_event(const Event& event) {
  for (const char* kind : {"warning", "stage_failed", "undo_failed"}) {
    if (event.kind == kind) say(event.stage.empty() ? event.message : event.stage + ": " + event.message);
  }
}

}  // namespace upkeep::init
