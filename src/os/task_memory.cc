#include "os/task_memory.h"

#include <fcntl.h>

#include "os/file.h"

namespace upkeep::os {

Result<TaskMemory> TaskMemory::open(pid_t pid) {
  TRY_ASSIGN(auto fd, open_file(fmt::format("/proc/{}/mem", pid), O_RDWR));
  return TaskMemory(std::move(fd));
}

Result<void> TaskMemory::read(std::uint64_t address, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t n = ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(address));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoErr("reading a task's memory at {:#x}", address);
    if (n == 0) return Err("the task whose memory was to be read has ended");
    into = into.subspan(static_cast<std::size_t>(n));
    address += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<void> TaskMemory::write(std::uint64_t address, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(address));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return ErrnoErr("writing a task's memory at {:#x}", address);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    address += static_cast<std::uint64_t>(n);
  }
  return {};
}

}  // namespace upkeep::os
