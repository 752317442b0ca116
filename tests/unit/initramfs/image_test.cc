#include "initramfs/image.h"

#include <elf.h>
#include <gmock/gmock.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "kernel_tree.h"
#include "os/file.h"

namespace upkeep::initramfs {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsSupersetOf;

std::string program(std::uint32_t segment_type) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = segment_type;
  std::string bytes(sizeof header + sizeof segment, '\0');
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, &segment, sizeof segment);
  return bytes;
}

class ImageTest : public testing::Test {
 protected:
  void SetUp() override {
    tree_.write(tree_.root() / "upkeep-init", program(PT_LOAD));
    plan_.init_program = tree_.root() / "upkeep-init";
    plan_.init_config = "{\"root\": \"UUID\"}\n";
    plan_.firmware_root = tree_.root() / "firmware";
    path_ = tree_.root() / "initramfs.cpio";
  }
  // The content of NAME in the image, as cpio takes it out.
  std::string content(const std::string& name) {
    const auto out = os::run_checked(
        {"cpio", "-i", "--quiet", "--to-stdout", name},
        {.timeout = std::chrono::seconds(10), .input = *os::read_file(path_), .in_child = {}});
    return out ? *out : "error: " + out.error().message();
  }
  KernelTree tree_;
  ImagePlan plan_;
  std::string path_;
};

TEST_F(ImageTest, EverythingIsInIt) {
  tree_.add({"first", {}, {}, {}});
  tree_.add({"second", {}, {}, {}});
  tree_.write(tree_.root() / "firmware/nic/a.bin", "firmware");
  plan_.modules = {{"first", tree_.module_file("first"), "", "", true, {}},
                   {"second", tree_.module_file("second"), "msi=1", "", false, {"nic/a.bin"}}};
  plan_.more_files = {{"etc/deep/er/file", "more", 0600}};
  const auto image = build_file(plan_, path_);
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->size, os::read_file(path_)->size());
  EXPECT_THAT(image->entries,
              IsSupersetOf({"init", "proc", "sys", "dev", "run", "sysroot", "dev/console", "dev/null",
                            "etc/upkeep-init.json", "modules/00-first.ko", "modules/01-second.ko",
                            "modules/order", "lib/firmware/nic/a.bin", "etc/deep/er/file"}));
  EXPECT_EQ(content("init"), program(PT_LOAD));
  EXPECT_EQ(content("etc/upkeep-init.json"), plan_.init_config);
  EXPECT_EQ(content("modules/01-second.ko"), *os::read_file(tree_.module_file("second")));
  EXPECT_EQ(content("lib/firmware/nic/a.bin"), "firmware");
  EXPECT_EQ(
      nlohmann::json::parse(content("modules/order")),
      nlohmann::json::parse(R"([{"file": "00-first.ko", "name": "first", "options": "", "required": true},
                                      {"file": "01-second.ko", "name": "second", "options": "msi=1", "required": false}])"));
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(ImageTest, ReplacesAnOldOne) {
  tree_.write(path_, std::string(100000, 'x'));
  const auto image = build_file(plan_, path_);
  ASSERT_TRUE(image);
  EXPECT_EQ(os::read_file(path_)->size(), image->size);
}

TEST_F(ImageTest, OptionsThatAreNoTextDoNotThrow) {
  tree_.add({"m", {}, {}, {}});
  plan_.modules = {{"m", tree_.module_file("m"), "name=\xff\xfe", "", true, {}}};
  ASSERT_TRUE(build_file(plan_, path_));
  EXPECT_FALSE(nlohmann::json::parse(content("modules/order"), nullptr, false).is_discarded());
}

TEST_F(ImageTest, FailureLeavesNothingBehind) {
  plan_.modules = {{"gone", "/does/not/exist.ko", "", "", true, {}}};
  EXPECT_THAT(build_file(plan_, path_).error().message(), HasSubstr("/does/not/exist.ko"));
  EXPECT_FALSE(os::exists(path_));
  plan_.modules.clear();
  plan_.more_files = {{"../etc/passwd", "", 0644}};
  EXPECT_FALSE(build_file(plan_, path_));
  EXPECT_FALSE(os::exists(path_));
  plan_.more_files = {{"init", "another", 0755}};
  EXPECT_THAT(build_file(plan_, path_).error().message(), HasSubstr("twice"));
}

TEST_F(ImageTest, InitMustBeStatic) {
  tree_.write(tree_.root() / "upkeep-init", program(PT_INTERP));
  EXPECT_THAT(build_file(plan_, path_).error().message(), HasSubstr("not static"));
  tree_.write(tree_.root() / "upkeep-init", "#!/bin/sh\n");
  EXPECT_THAT(build_file(plan_, path_).error().message(), HasSubstr("not a program"));
}

TEST(StaticProgram, EveryTruncationIsRefused) {
  const auto whole = program(PT_LOAD);
  EXPECT_TRUE(check_static_program(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string cut = whole.substr(0, size);
    EXPECT_FALSE(check_static_program(cut)) << size;
  }
  auto far = whole;
  const std::uint64_t offset = ~std::uint64_t{0};
  std::memcpy(far.data() + offsetof(Elf64_Ehdr, e_phoff), &offset, sizeof offset);
  EXPECT_FALSE(check_static_program(far));
}

}  // namespace
}  // namespace upkeep::initramfs
