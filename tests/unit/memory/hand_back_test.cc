#include "memory/hand_back.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "../../test_directory.h"

namespace upkeep::memory {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A directory that looks like sysfs; what a write to it does, a test cannot play: that is for virtual machines.
class HandBackTest : public testing::Test {
 protected:
  void SetUp() override {
    files_.dax = directory_ + "/dax";
    files_.blocks = directory_ + "/memory";
    files_.iomem = directory_ + "/iomem";
    files_.load_module = [this](const std::vector<std::string>& words) -> Result<void> {
      loaded_.push_back(words[0]);
      if (no_modules_) return Err("modprobe: module {} not found", words[0]);
      return {};
    };
    put("/memory/block_size_bytes", "8000000\n");
    put("/memory/auto_online_blocks", "online\n");
    put("/iomem", "00100000-3fffffff : System RAM\n40000000-57ffffff : Soft Reserved\n");
    ASSERT_TRUE(os::make_directories(files_.dax + "/devices"));
  }
  void put(const std::string& name, const std::string& content) { test_.write(name, content); }
  std::string get(const std::string& name) { return os::read_file(directory_ + name).value(); }
  // A region with one seed device, which "kmem" has already where DRIVER says so.
  void add_region(const std::string& device, const std::string& driver) {
    put("/platform/hmem.0/dax_region/create", "");
    put("/platform/hmem.0/" + device + "/size", "0\n");
    put("/platform/hmem.0/" + device + "/mapping", "");
    put("/dax/drivers/kmem/new_id", "");
    std::filesystem::create_symlink(directory_ + "/platform/hmem.0/" + device,
                                    files_.dax + "/devices/" + device);
    std::filesystem::create_symlink(files_.dax + "/drivers/" + driver,
                                    directory_ + "/platform/hmem.0/" + device + "/driver");
  }
  TestDirectory test_;
  const std::string& directory_ = test_.path();
  HotplugFiles files_;
  std::vector<std::string> loaded_;
  bool no_modules_ = false;
};

TEST_F(HandBackTest, MapsWholeBlocksAndKeepsTheRest) {
  add_region("dax0.0", "kmem");
  for (const int block : {9, 10}) put("/memory/memory" + std::to_string(block) + "/state", "offline\n");
  const std::vector<PhysicalRange> store{{0x47000000, 0x11000000}};
  const auto result = hand_back(store, files_);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_THAT(result->given, ElementsAre(PhysicalRange{0x48000000, 256 * kMiB}));
  ASSERT_EQ(result->kept.size(), 1U);
  EXPECT_EQ(result->kept[0].range, (PhysicalRange{0x47000000, 16 * kMiB}));
  EXPECT_THAT(result->kept[0].why, HasSubstr("no whole memory block of 128 MB"));
  EXPECT_EQ(get("/platform/hmem.0/dax0.0/mapping"), "48000000-57ffffff");
  EXPECT_EQ(get("/memory/memory9/state").substr(0, 14), "online_movable");
  EXPECT_EQ(get("/memory/memory10/state").substr(0, 14), "online_movable");
  EXPECT_EQ(get("/memory/auto_online_blocks").substr(0, 6), "online")
      << "the machine's own choice is put back";
  EXPECT_THAT(loaded_, ElementsAre("dax_hmem", "kmem"));
  EXPECT_EQ(result->measured.bytes, 256 * kMiB);
}

TEST_F(HandBackTest, WhatUdevHasHandedBackAlreadyIsRecognised) {
  put("/iomem",
      "00100000-3fffffff : System RAM\n40000000-57ffffff : Soft Reserved\n  40000000-57ffffff : dax0.0\n"
      "    40000000-57ffffff : System RAM (kmem)\n");
  const auto result = hand_back(std::vector<PhysicalRange>{{0x40000000, 128 * kMiB}}, files_);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_THAT(result->given, ElementsAre(PhysicalRange{0x40000000, 128 * kMiB}));
  EXPECT_THAT(result->kept, IsEmpty());
}

TEST_F(HandBackTest, TakesTheDeviceThatUdevLeftWithoutMakingAnother) {
  add_region("dax0.0", "kmem");
  put("/platform/hmem.0/dax0.0/size", "402653184\n");
  put("/platform/hmem.0/dax0.0/mapping0/start", "0x40000000\n");
  put("/platform/hmem.0/dax0.0/mapping0/end", "0x57ffffff\n");
  for (const int block : {8, 9, 10}) put("/memory/memory" + std::to_string(block) + "/state", "online\n");
  const auto result = hand_back(std::vector<PhysicalRange>{{0x40000000, 384 * kMiB}}, files_);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_THAT(result->given, ElementsAre(PhysicalRange{0x40000000, 384 * kMiB}));
  EXPECT_EQ(get("/platform/hmem.0/dax0.0/mapping"), "") << "the mapping is there already";
}

TEST_F(HandBackTest, WithoutModulesEverythingStaysReservedAndSaysWhy) {
  no_modules_ = true;
  const auto result = hand_back(std::vector<PhysicalRange>{{0x40000000, 128 * kMiB}}, files_);
  ASSERT_TRUE(result);
  EXPECT_THAT(result->given, IsEmpty());
  ASSERT_EQ(result->kept.size(), 1U);
  EXPECT_THAT(result->kept[0].why, HasSubstr("dax_hmem not found"));
  EXPECT_THAT(result->to_json()["kept"][0]["range"].get<std::string>(), HasSubstr("0x40000000"));
}

TEST_F(HandBackTest, ReservedButNotSoftReserved) {
  const auto result = hand_back(std::vector<PhysicalRange>{{0x40000000, 128 * kMiB}}, files_);
  ASSERT_TRUE(result);
  ASSERT_EQ(result->kept.size(), 1U);
  EXPECT_THAT(result->kept[0].why, HasSubstr("not soft reserved"));
}

TEST_F(HandBackTest, LessThanABlockLoadsNoModule) {
  const auto result = hand_back(std::vector<PhysicalRange>{{0x40000000, 64 * kMiB}}, files_);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->kept.size(), 1U);
  EXPECT_THAT(loaded_, IsEmpty());
}

TEST_F(HandBackTest, KernelWithoutMemoryHotplug) {
  files_.blocks = directory_ + "/none";
  const auto result = hand_back(std::vector<PhysicalRange>{{0x40000000, 128 * kMiB}}, files_);
  ASSERT_TRUE(result);
  ASSERT_EQ(result->kept.size(), 1U);
  EXPECT_THAT(result->kept[0].why, HasSubstr("cannot add memory"));
}

TEST(KmemRam, IsFoundBelowOtherLines) {
  EXPECT_THAT(parse_kmem_ram("100-1ff : Soft Reserved\n  100-1ff : dax0.0\n    100-17f : System RAM (kmem)\n"
                             "    180-1ff : System RAM (kmem)\n200-2ff : System RAM\n"),
              ElementsAre(PhysicalRange{0x100, 0x100}));
}

}  // namespace
}  // namespace upkeep::memory
