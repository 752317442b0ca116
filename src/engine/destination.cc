#include "engine/destination.h"

#include <array>
#include <cstdio>
#include <cstring>
#include <utility>

#include "os/file.h"
#include "os/io_uring.h"

namespace upkeep::engine {
namespace {

// "6.12.117+deb13-cloud-amd64" is not older than 6.3. What cannot be read is not older than anything.
bool older(const std::string& release, int major_number, int minor_number) {
  int have_major = 0, have_minor = 0;
  if (std::sscanf(release.c_str(), "%d.%d", &have_major, &have_minor) != 2) return false;
  return std::pair(have_major, have_minor) < std::pair(major_number, minor_number);
}

}  // namespace

std::string why_not_this_id(pid_t id, const Destination& destination) {
  if (id >= destination.lowest_safe_pid) return "";
  return fmt::format("PID {} is so low that a thread of the new kernel may have it (they go up to {})", id,
                     destination.lowest_safe_pid - 1);
}

std::string why_not_this_rseq(unsigned size, const Destination& destination) {
  constexpr unsigned kOriginal = 32;
  if (size <= kOriginal || !older(destination.release, 6, 3)) return "";
  return fmt::format(
      "it was started on a kernel with {} bytes of restartable sequences (rseq), and {} takes {}", size,
      destination.release, kOriginal);
}

unsigned rseq_size_of(const std::string& directory) {
  constexpr std::uint64_t kFeatureSize = 27;  // AT_RSEQ_FEATURE_SIZE, Linux 6.3
  auto environment = os::read_file(directory + "/environ");
  if (environment && environment->find("glibc.pthread.rseq=0") != std::string::npos) return 0;
  auto vector = os::read_file(directory + "/auxv");
  if (!vector) return 0;
  for (std::size_t at = 0; at + 16 <= vector->size(); at += 16) {
    std::array<std::uint64_t, 2> entry;
    std::memcpy(entry.data(), vector->data() + at, sizeof entry);
    if (entry[0] == kFeatureSize) return static_cast<unsigned>(entry[1]);
  }
  return 0;
}

std::string why_not_this_ring(std::uint32_t flags, const Destination& destination) {
  if ((flags & os::kRingNoSqArray) == 0 || !older(destination.release, 6, 6)) return "";
  return fmt::format("it was made with IORING_SETUP_NO_SQARRAY, which {} does not know", destination.release);
}

std::string why_not_guard_regions(const Destination& destination) {
  if (!older(destination.release, 6, 13)) return "";
  return fmt::format("it has guard regions in its memory (MADV_GUARD_INSTALL), which {} does not know",
                     destination.release);
}

void keep_clear_of(pid_t highest) {
  const std::string path = "/proc/sys/kernel/ns_last_pid";
  auto last = os::read_file(path);
  if (last && std::strtol(last->c_str(), nullptr, 10) < highest)
    (void)os::write_value(path, std::to_string(highest));
}

}  // namespace upkeep::engine
