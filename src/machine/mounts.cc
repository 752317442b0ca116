#include "machine/mounts.h"

#include <sys/mount.h>

#include <algorithm>
#include <array>

#include "os/file.h"
#include "os/mount.h"

namespace upkeep::machine {
namespace {

using PointAndType = std::pair<std::string_view, std::string_view>;
constexpr std::array<PointAndType, 7> kEarlyMounts = {{{"/dev/pts", "devpts"},
                                                       {"/dev/shm", "tmpfs"},
                                                       {"/dev/hugepages", "hugetlbfs"},
                                                       {"/run", "tmpfs"},
                                                       {"/run/lock", "tmpfs"},
                                                       {"/tmp", "tmpfs"},
                                                       {"/sys/fs/cgroup", "cgroup2"}}};

}  // namespace

nlohmann::json to_json(const EarlyMount& mount) {
  return {{"fs_type", mount.fs_type},
          {"source", mount.source},
          {"mount_point", mount.mount_point},
          {"options", mount.options}};
}

Result<EarlyMount> early_mount_from_json(const nlohmann::json& json) {
  try {
    return EarlyMount{json.at("fs_type").get<std::string>(), json.at("source").get<std::string>(),
                      json.at("mount_point").get<std::string>(), json.at("options").get<std::string>()};
  } catch (const nlohmann::json::exception& error) {
    return Err("mount: {}", error.what());
  }
}

std::vector<EarlyMount> early_mounts(const std::vector<os::MountInfo>& mounts) {
  std::vector<EarlyMount> early;
  for (const auto& mount : mounts) {
    const PointAndType here(mount.mount_point, mount.fs_type);
    if (std::find(kEarlyMounts.begin(), kEarlyMounts.end(), here) == kEarlyMounts.end()) continue;
    early.push_back(
        {mount.fs_type, mount.source, mount.mount_point, mount.options + "," + mount.super_options});
  }
  return early;
}

Result<void> make_early_mounts(const std::vector<EarlyMount>& mounts) {
  for (const auto& mount : mounts) {
    if (os::is_mount_point(mount.mount_point)) continue;
    TRY(os::make_directories(mount.mount_point));
    TRY(os::mount_file_system(mount.source, mount.mount_point, mount.fs_type, mount.options));
  }
  // As systemd makes it anyway: mount namespaces of what is restored receive what is mounted here later.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) < 0) return ErrnoErr("sharing /");
  return {};
}

}  // namespace upkeep::machine
