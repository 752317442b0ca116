#include "initramfs/modules.h"

#include <gmock/gmock.h>

#include "kernel_tree.h"

namespace upkeep::initramfs {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string disk = "pci0000:00/0000:00:04.0", card = "pci0000:00/0000:00:03.0";

std::vector<std::string> order(const Result<ModuleSet>& set) {
  if (!set) return {"error: " + set.error().message()};
  std::vector<std::string> names;
  for (const auto& module : set->load_order) names.push_back(module.name + (module.required ? "" : "?"));
  return names;
}

// A guest with virtio devices, as it looks while the older kernel runs.
class ModulesTest : public testing::Test {
 protected:
  void SetUp() override {
    tree_.add_device(disk, "pci:v00001AF4d00001042", "virtio-pci", "virtio_pci");
    tree_.add_device(disk + "/virtio1", "virtio:d00000002v00001AF4", "virtio_blk", "virtio_blk", true);
    tree_.add_device(disk + "/virtio1/block/vda/vda1", "");
    tree_.link("dev/block/254:1", disk + "/virtio1/block/vda/vda1");
    tree_.add_device(card, "pci:v00001AF4d00001041", "virtio-pci", "virtio_pci");
    tree_.add_device(card + "/virtio0", "virtio:d00000001v00001AF4", "virtio_net", "virtio_net", true);
    tree_.link("class/net/ens3/device", card + "/virtio0");
  }
  void add_virtio() {
    tree_.add({"virtio_blk", {"virtio:d00000002v*"}, {}, {}});
    tree_.add({"failover", {}, {}, {}});
    tree_.add({"net_failover", {}, {"failover"}, {}});
    tree_.add({"virtio_net", {"virtio:d00000001v*"}, {"net_failover"}, {}});
  }
  Result<ModuleSet> modules(Needs needs = {
                                .file_systems = {{254, 1, "ext4"}}, .names = {}, .optional_names = {}}) {
    tree_.index();
    return modules_for(needs, tree_.release(), tree_.roots());
  }
  KernelTree tree_;
};

TEST_F(ModulesTest, BuiltInPartsAreLeftOut) {
  add_virtio();
  tree_.add_built_in("virtio_pci", {"pci:v00001AF4d*"});
  tree_.add_built_in("ext4", {"fs-ext4"});
  const auto set = modules();
  EXPECT_THAT(order(set), ElementsAre("virtio_blk", "failover", "net_failover", "virtio_net"));
  EXPECT_THAT(set->built_in, ElementsAre("virtio_pci", "ext4"));
  EXPECT_THAT(set->load_order[0].reason,
              testing::AllOf(HasSubstr("root file system"), HasSubstr("/virtio1")));
  EXPECT_THAT(set->load_order[3].reason, HasSubstr("network link ens3"));
  EXPECT_EQ(set->load_order[0].path, tree_.module_file("virtio_blk"));
}

TEST_F(ModulesTest, TheSameDevicesOnAKernelWithEverythingModular) {
  add_virtio();
  tree_.add({"virtio_ring", {}, {}, {}});
  tree_.add({"virtio_pci", {"pci:v00001AF4d*"}, {"virtio_ring"}, {}});
  tree_.add({"crc16", {}, {}, {}});
  tree_.add({"ext4", {"fs-ext4"}, {"crc16"}, {"softdep=pre: crc32c"}});
  tree_.add({"crc32c_intel", {"crc32c"}, {}, {}});
  EXPECT_THAT(order(modules()), ElementsAre("virtio_ring", "virtio_pci", "virtio_blk", "crc32c_intel?",
                                            "crc16", "ext4", "failover", "net_failover", "virtio_net"));
}

TEST_F(ModulesTest, SoftDependencyThatIsBuiltInIsEnough) {
  tree_.add({"libcrc32c", {}, {}, {"softdep=pre: crc32c"}});
  tree_.add({"crc32c_intel", {"crc32c"}, {}, {}});
  tree_.add_built_in("crc32c_generic", {"crc32c"});
  tree_.add({"nf_tables", {}, {"libcrc32c"}, {}});
  EXPECT_THAT(
      order(modules(
          {.file_systems = {}, .physical_links = false, .names = {"nf_tables"}, .optional_names = {}})),
      ElementsAre("libcrc32c", "nf_tables"));
}

TEST_F(ModulesTest, SoftDependencyAfterAndCircles) {
  tree_.add({"a", {}, {}, {"softdep=post: b"}});
  tree_.add({"b", {}, {}, {"softdep=pre: a"}});
  const auto only = [&](std::vector<std::string> names) {
    return order(modules(
        {.file_systems = {}, .physical_links = false, .names = std::move(names), .optional_names = {}}));
  };
  EXPECT_THAT(only({"a"}), ElementsAre("a", "b?"));
  EXPECT_THAT(only({"b"}), ElementsAre("a?", "b"));
}

TEST_F(ModulesTest, OptionalBecomesRequiredWithWhatItNeeds) {
  tree_.add({"base", {}, {}, {}});
  tree_.add({"fast", {}, {"base"}, {}});
  tree_.add({"user", {}, {}, {"softdep=pre: fast"}});
  tree_.add({"hard", {}, {"fast"}, {}});
  EXPECT_THAT(
      order(modules(
          {.file_systems = {}, .physical_links = false, .names = {"user", "hard"}, .optional_names = {}})),
      ElementsAre("base", "fast", "user", "hard"));
}

TEST_F(ModulesTest, TodaysDriverDecidesAmongSeveral) {
  add_virtio();
  tree_.add({"rival_blk", {"virtio:d00000002v*"}, {}, {}});
  tree_.add_built_in("virtio_pci", {"pci:v00001AF4d*"});
  tree_.add_built_in("ext4", {"fs-ext4"});
  EXPECT_THAT(order(modules()), ElementsAre("virtio_blk", "failover", "net_failover", "virtio_net"));
  // even where it is blacklisted: somebody loaded it by name
  tree_.write(tree_.root() / "modprobe.d/x.conf", "blacklist virtio_blk\n");
  EXPECT_THAT(order(modules()), Contains("virtio_blk"));
}

TEST_F(ModulesTest, ARenamedDriverIsFoundByAlias) {
  tree_.add({"new_blk", {"virtio:d00000002v*"}, {}, {}});
  tree_.add({"wrong_blk", {"virtio:d00000002v*"}, {}, {}});
  tree_.add_built_in("virtio_pci", {"pci:v00001AF4d*"});
  tree_.add_built_in("ext4");  // an index without its aliases: found by name
  tree_.write(tree_.root() / "modprobe.d/x.conf", "blacklist wrong_blk\n");
  EXPECT_THAT(
      order(modules(
          {.file_systems = {{254, 1, "ext4"}}, .physical_links = false, .names = {}, .optional_names = {}})),
      ElementsAre("new_blk"));
}

TEST_F(ModulesTest, BoundByHandIsFoundByName) {
  tree_.add_device("platform/odd.0", "platform:odd", "vfio-platform", "odd_driver", true);
  tree_.add_device("platform/odd.0/block/odd0", "");
  tree_.link("dev/block/250:0", "platform/odd.0/block/odd0");
  tree_.add({"odd_driver", {}, {}, {}});
  tree_.add_built_in("xfs", {"fs-xfs"});
  EXPECT_THAT(
      order(modules(
          {.file_systems = {{250, 0, "xfs"}}, .physical_links = false, .names = {}, .optional_names = {}})),
      ElementsAre("odd_driver"));
}

TEST_F(ModulesTest, BuiltInInAnIndexWithoutItsDevices) {  // as before Linux 6.18
  add_virtio();
  tree_.add({"other_pci", {"pci:v00001AF4d*"}, {}, {}});
  tree_.add_built_in("virtio_pci");
  tree_.add_built_in("ext4", {"fs-ext4"});
  const auto set = modules(
      {.file_systems = {{254, 1, "ext4"}}, .physical_links = false, .names = {}, .optional_names = {}});
  EXPECT_THAT(order(set), ElementsAre("other_pci", "virtio_blk"));  // nobody can say that it is not needed
  EXPECT_THAT(set->built_in, ElementsAre("virtio_pci", "ext4"));
}

TEST_F(ModulesTest, ADriverBuiltInTodayWithoutATraceIsNoError) {
  tree_.add_device("pci0000:00/0000:00:01.0", "pci:bridge", "pcieport");
  tree_.add_device("pci0000:00/0000:00:01.0/disk/block/x", "");
  tree_.add_device("pci0000:00/0000:00:02.0", "pci:unused");  // without a driver: works today
  tree_.link("dev/block/250:0", "pci0000:00/0000:00:01.0/disk/block/x");
  tree_.add_built_in("xfs", {"fs-xfs"});
  EXPECT_THAT(
      order(modules(
          {.file_systems = {{250, 0, "xfs"}}, .physical_links = false, .names = {}, .optional_names = {}})),
      IsEmpty());
}

TEST_F(ModulesTest, ADriverBuiltInTodayThatTheTargetLacksIsAnError) {
  add_virtio();
  tree_.add_built_in("virtio_pci");
  tree_.add_built_in("ext4", {"fs-ext4"});
  tree_.index_as_running();
  tree_.remove_built_in();
  tree_.add_built_in("ext4", {"fs-ext4"});
  EXPECT_THAT(order(modules()),
              ElementsAre(testing::AllOf(HasSubstr("0000:00:04.0"), HasSubstr("virtio_pci"))));
}

TEST_F(ModulesTest, WhatTheTargetLacksIsNamed) {
  tree_.add_built_in("virtio_pci", {"pci:v00001AF4d*"});
  tree_.add_built_in("ext4", {"fs-ext4"});
  EXPECT_THAT(order(modules()),
              ElementsAre(testing::AllOf(HasSubstr("root file system"), HasSubstr("/virtio1"),
                                         HasSubstr("'virtio:d00000002v00001AF4'"))));
  tree_.add({"virtio_blk", {"virtio:d00000002v*"}, {}, {}});
  EXPECT_THAT(order(modules()),
              ElementsAre(testing::AllOf(HasSubstr("network link ens3"), HasSubstr("virtio_net"))));
  EXPECT_THAT(
      order(modules(
          {.file_systems = {{254, 1, "jfs"}}, .physical_links = false, .names = {}, .optional_names = {}})),
      ElementsAre(HasSubstr("no file system 'jfs'")));
  EXPECT_THAT(order(modules({.file_systems = {{9, 9, "ext4"}}, .names = {}, .optional_names = {}})),
              ElementsAre(HasSubstr("no block device 9:9")));
}

TEST_F(ModulesTest, NamesAskedFor) {
  add_virtio();
  tree_.add_built_in("tun");
  const auto set = modules({.file_systems = {},
                            .physical_links = false,
                            .names = {},
                            .optional_names = {"virtio-net", "tun", "nfnetlink"}});
  EXPECT_THAT(order(set), ElementsAre("failover?", "net_failover?", "virtio_net?"));
  EXPECT_THAT(set->built_in, ElementsAre("tun"));
  EXPECT_THAT(set->missing, ElementsAre("nfnetlink"));
  EXPECT_THAT(
      order(modules(
          {.file_systems = {}, .physical_links = false, .names = {"nfnetlink"}, .optional_names = {}})),
      ElementsAre(HasSubstr("no module 'nfnetlink'")));
}

TEST_F(ModulesTest, OptionsAndFirmwareGoAlong) {
  tree_.add(
      {"nic",
       {},
       {},
       {"firmware=nic/a.bin", "firmware=nic/b.bin", "firmware=../../etc/passwd", "firmware=/etc/passwd"}});
  tree_.write(tree_.root() / "firmware/nic/a.bin.xz", "x");
  tree_.write(tree_.root() / "etc/passwd", "root");
  tree_.write(tree_.root() / "modprobe.d/x.conf", "options nic msi=1 name=\"a b\"\n");
  const auto set =
      modules({.file_systems = {}, .physical_links = false, .names = {"nic"}, .optional_names = {}});
  ASSERT_TRUE(set) << set.error().message();
  EXPECT_EQ(set->load_order.at(0).options, "msi=1 name=\"a b\"");
  EXPECT_THAT(set->load_order.at(0).firmware, ElementsAre("nic/a.bin.xz"));
}

}  // namespace
}  // namespace upkeep::initramfs
