#include "operation/context.h"

#include <unistd.h>

#include "os/procfs.h"

namespace upkeep::operation {

Record record_in(Journal& journal) {
  return {[&journal](const Event& event) { (void)journal.append(event); },
          [&journal] { return journal.sync(); }};
}

void Context::enter(const std::string& stage, std::int64_t began_ns) {
  stage_ = stage;
  conclusion_.clear();
  // Which boot: undo has to know whether what lay in memory is still there.
  Event begun{"stage_begun", stage_, "", {{"boot_id", os::boot_id()}}};
  begun.time_ns = began_ns;
  emit(begun);
}

void Context::start_deadline() const {
  if (deadline_.valid()) (void)!::write(deadline_.get(), "w", 1);
}

}  // namespace upkeep::operation
