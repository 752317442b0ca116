#pragma once
// Whoever changes the machine holds this: one upgrade, one undo, or one restore at a time.

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::operation {

class MachineLock {
 public:
  // The error names the process that holds it.
  static Result<MachineLock> acquire();

 private:
  explicit MachineLock(os::UniqueFd fd) : fd_(std::move(fd)) {}
  os::UniqueFd fd_;
};

// PID of the lock's holder, 0 where nobody holds it.
int machine_lock_holder();

}  // namespace upkeep::operation
