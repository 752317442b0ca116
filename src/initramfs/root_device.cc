#include "initramfs/root_device.h"

#include <filesystem>
#include <utility>

#include "initramfs/device_chain.h"
#include "os/file.h"

namespace upkeep::initramfs {
namespace {

namespace fs = std::filesystem;

RootDevice from_mount(const os::MountInfo& mount, const std::string& sysfs) {
  RootDevice root{.major = mount.major,
                  .minor = mount.minor,
                  .name = {},
                  .device = mount.source,
                  .mount_point = mount.mount_point,
                  .fs_type = mount.fs_type,
                  .options = mount.options,
                  .super_options = mount.super_options};
  if (auto path = block_device_path(sysfs, mount.major, mount.minor)) {
    root.name = fs::path(*path).filename().string();
    // mountinfo's source may be "/dev/root" or a link that is gone; the kernel's own name is right
    root.device = "/dev/" + root.name;
  }
  return root;
}

std::string first_line(const std::string& path) {
  auto text = os::read_file(path);
  return text ? text->substr(0, text->find('\n')) : std::string();
}

// What the device is, where it is not simply a disk or a partition of one; else empty.
std::string stacked_kind(const RootDevice& root, const std::string& sysfs) {
  const auto path = block_device_path(sysfs, root.major, root.minor);
  if (!path) return {};
  const auto has = [&](const char* part) {
    return os::exists(*path + part) || os::exists(*path + "/.." + part);
  };
  if (has("/dm")) {
    const auto name = first_line(*path + "/dm/name"), uuid = first_line(*path + "/dm/uuid");
    if (uuid.starts_with("LVM-")) return fmt::format("the LVM volume {}", name);
    if (uuid.starts_with("CRYPT-")) return fmt::format("the encrypted (LUKS) device {}", name);
    if (uuid.starts_with("mpath-")) return fmt::format("the multipath device {}", name);
    return fmt::format("the device mapper's {}", name);
  }
  if (has("/md")) return fmt::format("the RAID (md) array {}", root.name);
  if (has("/loop")) return fmt::format("the loop device {}", root.name);
  if (has("/bcache")) return fmt::format("the bcache device {}", root.name);
  const std::pair<const char*, const char*> by_name[] = {{"nbd", "network block"}, {"rbd", "Ceph block"},
                                                         {"drbd", "DRBD"},         {"zram", "zram"},
                                                         {"ram", "RAM disk"},      {"zd", "ZFS"}};
  for (const auto& [prefix, kind] : by_name)
    if (root.name.starts_with(prefix)) return fmt::format("the {} device {}", kind, root.name);
  if (path->find("/devices/virtual/block/") != std::string::npos)
    return fmt::format("the virtual device {}", root.name);
  return {};
}

Finding refusal(const RootDevice& root, const std::string& kind, std::string why) {
  return {Finding::Severity::refusal, fmt::format("{} is on {}", root.mount_point, kind), std::move(why),
          "use upkeep on machines whose root is a disk or a partition with ext4 or xfs"};
}

}  // namespace

Result<RootDevice> find_root(const std::vector<os::MountInfo>& mounts, const std::string& sysfs) {
  const os::MountInfo* found = nullptr;
  for (const auto& mount : mounts)  // the last one is on top
    if (mount.mount_point == "/") found = &mount;
  if (found == nullptr) return Err("no root file system among the mounts");
  return from_mount(*found, sysfs);
}

std::vector<Finding> check_root(const RootDevice& root, const std::string& sysfs) {
  if (root.fs_type.starts_with("nfs"))
    return {refusal(root, "NFS", "the new kernel brings its network up after its root")};
  if (root.fs_type != "ext4" && root.fs_type != "xfs")
    return {refusal(root, fmt::format("a file system of type {}", root.fs_type),
                    "only ext4 and xfs are mounted by upkeep-init")};
  if (root.major == 0 || root.name.empty())
    return {refusal(root, fmt::format("device {}:{}", root.major, root.minor),
                    "it is no block device that sysfs knows")};
  if (const auto kind = stacked_kind(root, sysfs); !kind.empty())
    return {refusal(root, kind, "upkeep-init cannot assemble it in this version")};
  return {};
}

}  // namespace upkeep::initramfs
