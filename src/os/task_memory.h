#pragma once
// Another task's memory, through /proc/PID/mem: whatever the protection of a page is.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

class TaskMemory {
 public:
  static Result<TaskMemory> open(pid_t pid);
  Result<void> read(std::uint64_t address, std::span<std::byte> into) const;
  // Private mappings that are not writable get a copy of the page, as a debugger's breakpoint would.
  Result<void> write(std::uint64_t address, std::span<const std::byte> bytes) const;

  template <typename T>
  Result<T> value(std::uint64_t address) const {
    T value = {};
    TRY(read(address, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }

 private:
  explicit TaskMemory(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace upkeep::os
