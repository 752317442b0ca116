#pragma once
// mount(2) with options as mountinfo and fstab spell them.

#include <string>

#include "common/result.h"

namespace upkeep::os {

// "rw,nosuid,size=10%" split into the flags that mount(2) takes as bits and the rest, which is the file
// system's own.
struct MountOptions {
  unsigned long flags = 0;
  std::string data;
};
MountOptions parse_mount_options(const std::string& options);

Result<void> mount_file_system(const std::string& source, const std::string& target,
                               const std::string& fs_type, const std::string& options);
Result<void> move_mount_point(const std::string& from, const std::string& to);
// Lazily where LAZY: gone from sight at once, from memory when nobody uses it.
Result<void> unmount(const std::string& target, bool lazy = false);
bool is_mount_point(const std::string& path);

}  // namespace upkeep::os
