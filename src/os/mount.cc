#include "os/mount.h"

#include <sys/mount.h>

#include <array>
#include <utility>

#include "os/procfs.h"

namespace upkeep::os {
namespace {

struct Flag {
  std::string_view name;
  unsigned long bit;
  bool clears = false;
};

constexpr std::array<Flag, 16> kFlags = {{{"ro", MS_RDONLY},
                                          {"rw", MS_RDONLY, true},
                                          {"nosuid", MS_NOSUID},
                                          {"suid", MS_NOSUID, true},
                                          {"nodev", MS_NODEV},
                                          {"dev", MS_NODEV, true},
                                          {"noexec", MS_NOEXEC},
                                          {"exec", MS_NOEXEC, true},
                                          {"sync", MS_SYNCHRONOUS},
                                          {"dirsync", MS_DIRSYNC},
                                          {"noatime", MS_NOATIME},
                                          {"nodiratime", MS_NODIRATIME},
                                          {"relatime", MS_RELATIME},
                                          {"strictatime", MS_STRICTATIME},
                                          {"lazytime", MS_LAZYTIME},
                                          {"defaults", 0}}};

}  // namespace

MountOptions parse_mount_options(const std::string& options) {
  MountOptions parsed;
  std::string_view rest = options;
  while (!rest.empty()) {
    auto comma = rest.find(',');
    auto option = rest.substr(0, comma);
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    if (option.empty()) continue;
    bool known = false;
    for (const auto& flag : kFlags) {
      if (flag.name != option) continue;
      known = true;
      parsed.flags = flag.clears ? parsed.flags & ~flag.bit : parsed.flags | flag.bit;
    }
    if (known) continue;
    if (!parsed.data.empty()) parsed.data += ',';
    parsed.data += option;
  }
  return parsed;
}

Result<void> mount_file_system(const std::string& source, const std::string& target,
                               const std::string& fs_type, const std::string& options) {
  const auto parsed = parse_mount_options(options);
  if (::mount(source.c_str(), target.c_str(), fs_type.c_str(), parsed.flags, parsed.data.c_str()) < 0) {
    return ErrnoErr("mount {} ({}, {}) on {}", source, fs_type, options, target);
  }
  return {};
}

Result<void> move_mount_point(const std::string& from, const std::string& to) {
  if (::mount(from.c_str(), to.c_str(), nullptr, MS_MOVE, nullptr) < 0)
    return ErrnoErr("move mount {} to {}", from, to);
  return {};
}

Result<void> unmount(const std::string& target, bool lazy) {
  if (::umount2(target.c_str(), lazy ? MNT_DETACH : 0) < 0) return ErrnoErr("unmount {}", target);
  return {};
}

bool is_mount_point(const std::string& path) {
  auto mounts = read_mountinfo(0);
  if (!mounts) return false;
  for (const auto& mount : *mounts) {
    if (mount.mount_point == path) return true;
  }
  return false;
}

}  // namespace upkeep::os
