#include "engine/model/namespaces/mounts.h"

#include <algorithm>
#include <map>
#include <set>

namespace upkeep::engine {
namespace {

// What the host has mounted or unmounted in between.
void forget_host_mounts(std::vector<Mount>& mounts, const std::vector<Mount>& other) {
  std::erase_if(mounts, [&](const Mount& mount) {
    return mount.inherited && std::none_of(other.begin(), other.end(), [&](const Mount& their) {
             return their.mount_point == mount.mount_point && their.fs_type == mount.fs_type;
           });
  });
}

}  // namespace

bool stays_below(std::string_view path) {
  return path.starts_with('/') && path.find("/../") == std::string_view::npos && !path.ends_with("/..");
}

Result<void> validate(const std::vector<Mount>& mounts, const KnownObjects&) {
  std::set<std::int32_t> ids;
  std::size_t roots = 0;
  for (const auto& mount : mounts) {
    if (mount.id < 1 || !ids.insert(mount.id).second)
      return Err("mount ID {} is used twice or none", mount.id);
    // Of a namespace's file the root is a name ("net:[4026531840]").
    const bool good = stays_below(mount.mount_point) &&
                      (stays_below(mount.root) || mount.root.find('/') == std::string::npos) &&
                      (mount.host_path.empty() || stays_below(mount.host_path));
    if (!good) return Err("the mount at '{}' leads out of its place", mount.mount_point);
    if (mount.parent == 0 && mount.mount_point == "/") ++roots;
    for (const auto& node : mount.contents) {
      if (!node.path.empty() && !stays_below(node.path))
        return Err("mount {}: a file outside of it", mount.mount_point);
    }
  }
  if (!mounts.empty() && roots != 1) return Err("its mounts have no root, or several");
  for (const auto& mount : mounts) {
    if (mount.parent != 0 && !ids.contains(mount.parent))
      return Err("mount {}: nothing is below it", mount.mount_point);
  }
  return {};
}

void make_comparable(std::vector<Mount>& mounts, const std::vector<Mount>* other, Comparison& comparison) {
  if (other != nullptr) forget_host_mounts(mounts, *other);
  std::map<std::int32_t, std::string> places = {{0, ""}};
  for (const auto& mount : mounts) places[mount.id] = mount.mount_point;
  std::sort(mounts.begin(), mounts.end(),
            [](const Mount& a, const Mount& b) { return a.mount_point < b.mount_point; });
  for (auto& mount : mounts) {
    mount.source += " on " + places[mount.parent];
    mount.id = mount.parent = 0;
    mount.major = mount.minor = 0;
    mount.shared = mount.shared != 0 ? 1 : 0;
    mount.master = mount.master != 0 ? 1 : 0;
    if (!mount.host_path.empty()) mount.contents.clear();
    // The host's file systems are as the host has them: systemd mounts /run anew, with other limits.
    if (!mount.host_path.empty() || mount.inherited) mount.super_options.clear();
    for (auto& node : mount.contents) {
      if (node.device_number == 0 && node.data.data.empty()) node.modified = 0;
    }
  }
  for (auto& mount : mounts) {
    if (mount.pid_namespace != 0) mount.pid_namespace = comparison.namespaces(mount.pid_namespace);
  }
}

}  // namespace upkeep::engine
