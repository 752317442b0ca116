#pragma once
// The root file system: which device it lies on, and whether upkeep-init can mount it in this version. Its
// device's modules are modules.h's business.

#include <string>
#include <vector>

#include "common/finding.h"
#include "common/result.h"
#include "os/procfs.h"

namespace upkeep::initramfs {

struct RootDevice {
  unsigned major = 0, minor = 0;
  std::string name;           // "vda1"
  std::string device;         // "/dev/vda1"
  std::string mount_point;    // "/"
  std::string fs_type;        // "ext4"
  std::string options;        // of the mount: "rw,relatime"
  std::string super_options;  // of the file system: "rw,errors=remount-ro"
};

// The device under the mount point "/" of MOUNTS (/proc/1/mountinfo).
Result<RootDevice> find_root(const std::vector<os::MountInfo>& mounts, const std::string& sysfs = "/sys");

// Refusals for what this version cannot mount, by name: LVM, LUKS, md, multipath, loop, network block
// devices, file systems other than ext4 and xfs. Empty: fine.
std::vector<Finding> check_root(const RootDevice& root, const std::string& sysfs = "/sys");

}  // namespace upkeep::initramfs
