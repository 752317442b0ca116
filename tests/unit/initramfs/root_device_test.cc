#include "initramfs/root_device.h"

#include <gmock/gmock.h>

#include "kernel_tree.h"

namespace upkeep::initramfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<os::MountInfo> mounts(const std::string& device, const std::string& type,
                                  const std::string& source = "/dev/root") {
  auto parsed = os::parse_mountinfo("1 1 0:2 / / rw - rootfs rootfs rw\n22 1 " + device +
                                    " / / rw,relatime shared:1 - " + type + " " + source +
                                    " rw,errors=remount-ro\n23 22 0:20 / /proc rw - proc proc rw\n");
  EXPECT_TRUE(parsed);
  return parsed.value_or(std::vector<os::MountInfo>());
}

class Root : public testing::Test {
 protected:
  std::vector<std::string> refusals(const std::string& device, const std::string& type) {
    const auto root = find_root(mounts(device, type), tree_.roots().sys);
    EXPECT_TRUE(root);
    std::vector<std::string> found;
    for (const auto& finding : check_root(*root, tree_.roots().sys)) {
      EXPECT_EQ(finding.severity, Finding::Severity::refusal);
      found.push_back(finding.what);
    }
    return found;
  }
  // The block device NAME at DEVICE, with ATTRIBUTES in its folder.
  void block(const std::string& device, const std::string& path,
             const std::vector<std::pair<std::string, std::string>>& attributes = {}) {
    tree_.add_device(path, "");
    for (const auto& [name, value] : attributes)
      tree_.write(tree_.root() / "sys/devices" / path / name, value + "\n");
    tree_.link("dev/block/" + device, path);
  }
  KernelTree tree_;
};

TEST_F(Root, DiskOrPartitionIsFine) {
  block("254:1", "pci0000:00/virtio1/block/vda/vda1");
  block("259:0", "pci0000:00/nvme/nvme0/nvme0n1");
  EXPECT_THAT(refusals("254:1", "ext4"), ElementsAre());
  EXPECT_THAT(refusals("259:0", "xfs"), ElementsAre());
  const auto root = find_root(mounts("254:1", "ext4"), tree_.roots().sys);
  EXPECT_EQ(root->device, "/dev/vda1");
  EXPECT_EQ(root->name, "vda1");
  EXPECT_EQ(root->major, 254U);
  EXPECT_EQ(root->options, "rw,relatime");
  EXPECT_EQ(root->super_options, "rw,errors=remount-ro");
}

TEST_F(Root, StackedDevicesAreRefusedByName) {
  block("253:0", "virtual/block/dm-0", {{"dm/name", "vg-root"}, {"dm/uuid", "LVM-abc"}});
  block("253:1", "virtual/block/dm-1", {{"dm/name", "vda3_crypt"}, {"dm/uuid", "CRYPT-LUKS2-abc"}});
  block("253:2", "virtual/block/dm-2", {{"dm/name", "mpatha"}, {"dm/uuid", "mpath-360"}});
  block("253:3", "virtual/block/dm-3", {{"dm/name", "odd"}, {"dm/uuid", ""}});
  block("9:0", "virtual/block/md0", {{"md/level", "raid1"}});
  block("259:7", "virtual/block/md1/md1p1", {{"../md/level", "raid1"}});
  block("7:0", "virtual/block/loop0", {{"loop/backing_file", "/x"}});
  block("43:0", "virtual/block/nbd0");
  block("250:0", "virtual/block/strange");
  EXPECT_THAT(refusals("253:0", "ext4"), ElementsAre("/ is on the LVM volume vg-root"));
  EXPECT_THAT(refusals("253:1", "ext4"), ElementsAre("/ is on the encrypted (LUKS) device vda3_crypt"));
  EXPECT_THAT(refusals("253:2", "ext4"), ElementsAre("/ is on the multipath device mpatha"));
  EXPECT_THAT(refusals("253:3", "ext4"), ElementsAre("/ is on the device mapper's odd"));
  EXPECT_THAT(refusals("9:0", "xfs"), ElementsAre("/ is on the RAID (md) array md0"));
  EXPECT_THAT(refusals("259:7", "xfs"), ElementsAre("/ is on the RAID (md) array md1p1"));
  EXPECT_THAT(refusals("7:0", "ext4"), ElementsAre("/ is on the loop device loop0"));
  EXPECT_THAT(refusals("43:0", "ext4"), ElementsAre("/ is on the network block device nbd0"));
  EXPECT_THAT(refusals("250:0", "ext4"), ElementsAre("/ is on the virtual device strange"));
}

TEST_F(Root, OtherFileSystemsAreRefusedByName) {
  EXPECT_THAT(refusals("0:25", "nfs4"), ElementsAre("/ is on NFS"));
  EXPECT_THAT(refusals("0:26", "btrfs"), ElementsAre(HasSubstr("of type btrfs")));
  EXPECT_THAT(refusals("0:27", "overlay"), ElementsAre(HasSubstr("of type overlay")));
  EXPECT_THAT(refusals("8:1", "ext4"), ElementsAre(HasSubstr("device 8:1")));  // nowhere in sysfs
}

TEST_F(Root, NoRootAtAll) { EXPECT_FALSE(find_root({}, tree_.roots().sys)); }

}  // namespace
}  // namespace upkeep::initramfs
