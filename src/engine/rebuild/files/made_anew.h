#pragma once
// Files of a tmpfs have other inode numbers when they have been put back after a boot.

#include <sys/sysmacros.h>

#include <cstdint>

namespace upkeep::engine {

// Whether the same path may lead to another inode. Only file systems without a block device have a major
// number of 0.
inline bool made_anew(std::uint64_t recorded_device, std::uint64_t device) {
  return ::gnu_dev_major(recorded_device) == 0 && ::gnu_dev_major(device) == 0;
}

}  // namespace upkeep::engine
