#include "engine/model/files/file_locks.h"

namespace upkeep::engine {

Result<void> validate(const FileLock& lock, const KnownObjects&) {
  if (lock.start > INT64_MAX || lock.length > INT64_MAX) return Err("a lock is out of bounds");
  return {};
}

}  // namespace upkeep::engine
