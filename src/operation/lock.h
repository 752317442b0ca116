#pragma once
// Whoever changes the machine holds this: one operation, one undo, or one restore at a time.

#include <string>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::operation {

// What an operation has there ends with the boot: the lock, a directory for each operation. Another one in tests.
inline constexpr const char* kRunDirectory = "/run/upkeep";

class MachineLock {
 public:
  // The error names the process that holds it.
  static Result<MachineLock> acquire(const std::string& run_directory = kRunDirectory);

 private:
  explicit MachineLock(os::UniqueFd fd) : fd_(std::move(fd)) {}
  os::UniqueFd fd_;
};

// PID of the lock's holder, 0 where nobody holds it.
int machine_lock_holder(const std::string& run_directory = kRunDirectory);

}  // namespace upkeep::operation
