#include "initramfs/device_chain.h"

#include <gmock/gmock.h>

#include "kernel_tree.h"

namespace upkeep::initramfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string pci = "pci0000:00/0000:00:04.0";

TEST(DeviceChain, PartitionToTheBus) {
  KernelTree tree;
  tree.add_device(pci, "pci:v00001AF4", "virtio-pci", "virtio_pci");
  tree.add_device(pci + "/virtio1", "virtio:d00000002v00001AF4", "virtio_blk", "virtio_blk", true);
  tree.add_device(pci + "/virtio1/block/vda/vda1", "");
  tree.link("dev/block/254:1", pci + "/virtio1/block/vda/vda1");
  const auto sys = tree.roots().sys;
  const auto path = block_device_path(sys, 254, 1);
  ASSERT_TRUE(path) << path.error().message();
  EXPECT_THAT(*path, testing::EndsWith("/vda/vda1"));
  const auto chain = device_chain(sys, *path);
  ASSERT_TRUE(chain);
  ASSERT_EQ(chain->size(), 2U);
  EXPECT_EQ(chain->at(0).modalias, "virtio:d00000002v00001AF4");
  EXPECT_EQ(chain->at(0).driver, "virtio_blk");
  EXPECT_TRUE(chain->at(0).module_is_loaded);
  EXPECT_EQ(chain->at(1).driver, "virtio-pci");
  EXPECT_EQ(chain->at(1).driver_module, "virtio_pci");
  EXPECT_FALSE(chain->at(1).module_is_loaded);
}

TEST(DeviceChain, WhatIsNotThere) {
  KernelTree tree;
  const auto sys = tree.roots().sys;
  EXPECT_THAT(block_device_path(sys, 8, 1).error().message(), HasSubstr("no block device 8:1"));
  EXPECT_FALSE(device_chain(sys, "/etc"));
  EXPECT_FALSE(device_chain(sys, sys + "/devices/none"));
  EXPECT_FALSE(device_chain(sys, sys + "/devices"));
}

TEST(DeviceChain, MultipathNvmeBeginsAtItsControllers) {
  KernelTree tree;
  tree.add_device("pci0000:00/0000:00:05.0", "pci:v00001B36", "nvme", "nvme");
  tree.add_device("pci0000:00/0000:00:05.0/nvme/nvme0", "");
  tree.add_device("virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1", "");
  tree.link("devices/virtual/nvme-subsystem/nvme-subsys0/nvme0", "pci0000:00/0000:00:05.0/nvme/nvme0");
  tree.link("dev/block/259:1", "virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1");
  const auto sys = tree.roots().sys;
  const auto origins = block_device_origins(sys, 259, 1);
  ASSERT_TRUE(origins) << origins.error().message();
  ASSERT_EQ(origins->size(), 1U);
  const auto chain = device_chain(sys, origins->at(0));
  ASSERT_TRUE(chain);
  ASSERT_EQ(chain->size(), 1U);
  EXPECT_EQ(chain->at(0).driver, "nvme");
}

TEST(PhysicalLinks, OnlyThoseWithADevice) {
  KernelTree tree;
  tree.add_device(pci + "/virtio0", "virtio:d00000001v00001AF4", "virtio_net", "virtio_net");
  tree.link("class/net/eth0/device", pci + "/virtio0");
  tree.write(tree.root() / "sys/class/net/lo/address", "00:00:00:00:00:00\n");
  tree.write(tree.root() / "sys/class/net/bonding_masters", "\n");
  const auto links = physical_links(tree.roots().sys);
  ASSERT_TRUE(links);
  ASSERT_EQ(links->size(), 1U);
  EXPECT_EQ(links->at(0).name, "eth0");
  EXPECT_THAT(links->at(0).device, testing::EndsWith("/virtio0"));
}

}  // namespace
}  // namespace upkeep::initramfs
