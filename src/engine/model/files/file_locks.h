#pragma once
// Locks of files: flock(2), and fcntl(2) with F_SETLK and F_OFD_SETLK.

#include <array>
#include <cstdint>
#include <string_view>

#include "common/names.h"
#include "common/result.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

// As /proc/locks names them: locks of flock(2), record locks of fcntl(2), and those that belong to an open file
// description. Others (leases) are not rebuilt.
enum class LockKind : std::uint8_t { other, flock, posix, ofd, lease, delegation };
inline constexpr std::array<std::string_view, 6> kLockKindNames = {"other",  "FLOCK", "POSIX",
                                                                   "OFDLCK", "LEASE", "DELEG"};
constexpr const auto& names_of(LockKind) { return kLockKindNames; }

struct FileLock {
  LockKind kind = LockKind::other;
  bool exclusive = false;
  std::uint64_t start = 0, length = 0;  // 0: to the end of the file
  bool operator==(const FileLock&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("kind", self.kind);
    visit("exclusive", self.exclusive);
    visit("start", self.start);
    visit("length", self.length);
  }
};

// "POSIX" ones belong to a process; the descriptor is one that leads to the file.
struct RecordLock {
  std::int32_t fd = 0;
  FileLock lock;
  bool operator==(const RecordLock&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("fd", self.fd);
    visit("lock", self.lock);
  }
};

Result<void> validate(const FileLock& file_lock, const KnownObjects& known);

}  // namespace upkeep::engine
