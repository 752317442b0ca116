#include "jump/old/memory_needed.h"

#include <charconv>

#include "memory/store_writer.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::jump {
namespace {

// Files in the store beside the image: the manifest, and what temporary file systems hold. Each takes a line in
// the store's table; carried services have some hundreds.
constexpr std::uint64_t kFiles = 4096;

std::uint64_t kilobytes(const std::map<std::string, std::string, std::less<>>& status, std::string_view key) {
  auto it = status.find(key);
  std::uint64_t value = 0;
  if (it != status.end()) std::from_chars(it->second.data(), it->second.data() + it->second.size(), value);
  return value;
}

}  // namespace

std::uint64_t estimated_image_bytes(const engine::CarrySet& set) {
  std::uint64_t kb = 0;
  for (pid_t pid : set.pids()) {
    auto status = os::read_file(fmt::format("/proc/{}/status", pid));
    if (!status) continue;
    const auto values = os::parse_key_values(*status);
    kb += kilobytes(values, "RssAnon") + kilobytes(values, "RssShmem") + kilobytes(values, "VmSwap") +
          kilobytes(values, "HugetlbPages") + 1024;
  }
  // What changes between the copy ahead and the snapshot is there twice.
  return kb * 1024 * 3 / 2 + (std::uint64_t{32} << 20);
}

std::uint64_t store_bytes_needed(std::uint64_t image_bytes) {
  return memory::store_size_for(image_bytes, kFiles);
}

std::uint64_t free_bytes_needed(const engine::CarrySet& set) {
  return store_bytes_needed(2 * estimated_image_bytes(set));
}

}  // namespace upkeep::jump
