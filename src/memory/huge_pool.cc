#include "memory/huge_pool.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <charconv>

#include "memory/physical_range.h"
#include "os/child.h"
#include "os/file.h"

namespace upkeep::memory {

HugePool::HugePool(std::string pools, std::uint64_t page_size)
    : file_(fmt::format("{}/hugepages-{}kB/nr_hugepages", pools, page_size / kKiB)), page_size_(page_size) {}

bool HugePool::exists() const { return os::exists(file_); }

Result<std::uint64_t> HugePool::size() const {
  TRY_ASSIGN(const auto text, os::read_file(file_));
  std::uint64_t pages = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), pages).ec != std::errc())
    return Err("{}: cannot read '{}'", file_, text);
  return pages;
}

Result<std::uint64_t> HugePool::resize(std::uint64_t count, std::chrono::steady_clock::time_point end) const {
  TRY_ASSIGN(const auto file, os::open_file(file_, O_WRONLY));
  const std::string text = std::to_string(count);
  // The kernel's loop over the pages ends early only for a signal to the writer, so the writer is a child.
  TRY_ASSIGN(const auto child, os::fork_child([&]() -> int {
               return ::write(file.get(), text.data(), text.size()) < 0 ? errno : 0;
             }));
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  auto status = os::wait_child(child, std::max(left, std::chrono::milliseconds(0)));
  if (!status) {
    ::kill(child.pid, SIGKILL);
    while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    if (status.error().code() != ETIMEDOUT) return tl::unexpected(std::move(status).error());
  } else if (!status->success()) {
    return tl::unexpected(
        Error(fmt::format("write {} to {}: {}", count, file_, errno_text(status->code().value_or(0))),
              status->code().value_or(0)));
  }
  return size();
}

Result<std::uint64_t> decode_pagemap(std::uint64_t entry) {
  constexpr std::uint64_t kPresent = std::uint64_t{1} << 63U;
  constexpr std::uint64_t kFrameMask = (std::uint64_t{1} << 55U) - 1;
  if ((entry & kPresent) == 0) return Err("a page of the image store is not in memory");
  if ((entry & kFrameMask) == 0)
    return Err("the kernel hides page frame numbers: this needs root (CAP_SYS_ADMIN)");
  return (entry & kFrameMask) * kPageSize;
}

Result<std::vector<std::uint64_t>> physical_addresses(const std::byte* address, std::uint64_t count,
                                                      std::uint64_t page_size) {
  TRY_ASSIGN(const auto pagemap, os::open_file("/proc/self/pagemap", O_RDONLY));
  std::vector<std::uint64_t> physical;
  physical.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t entry = 0;
    const std::uint64_t page = (reinterpret_cast<std::uintptr_t>(address) + i * page_size) / kPageSize;
    TRY_IN("/proc/self/pagemap", os::pread_all(pagemap, std::as_writable_bytes(std::span(&entry, 1)),
                                               static_cast<off_t>(page * sizeof(entry))));
    TRY_ASSIGN(const auto frame, decode_pagemap(entry));
    physical.push_back(frame);
  }
  return physical;
}

}  // namespace upkeep::memory
