#include "kexec/boot_image.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "boot_image_fixture.h"

namespace upkeep::kexec {
namespace {

using testing::HasSubstr;

constexpr std::string_view version = "6.12.117+deb13-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP";

Result<BootImage> parse(const FakeImage& image, std::uint64_t size = 0) {
  return parse_boot_image(std::as_bytes(std::span(image.bytes)), size != 0 ? size : image.bytes.size());
}

TEST(BootImage, FieldsOfTheHeader) {
  const auto image = parse(fake_image(version));
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->release, "6.12.117+deb13-cloud-amd64");
  EXPECT_EQ(image->version, version);
  EXPECT_EQ(image->protocol, 0x020fU);
  EXPECT_TRUE(image->relocatable);
  EXPECT_TRUE(image->above_4g);
  EXPECT_TRUE(image->five_level_paging);
  EXPECT_EQ(image->alignment, 0x200000U);
  EXPECT_EQ(image->preferred_address, 0x1000000U);
  EXPECT_EQ(image->init_size, 0x3000000U);
  EXPECT_EQ(image->command_line_size, 2047U);
  EXPECT_EQ(image->payload_offset, 2560U);
  EXPECT_EQ(image->payload_size, 300U);
}

TEST(BootImage, NoSetupSectorsMeansFour) {
  EXPECT_EQ(parse(fake_image(version).put<std::uint8_t>(0x1f1, 0))->payload_offset, 2560U);
}

TEST(BootImage, RefusesWhatItCannotBoot) {
  EXPECT_THAT(parse(fake_image(version).put<std::uint16_t>(0x1fe, 0)).error().message(),
              HasSubstr("not an x86 kernel"));
  EXPECT_THAT(parse(fake_image(version).put<std::uint32_t>(0x202, 0)).error().message(),
              HasSubstr("not an x86 kernel"));
  EXPECT_THAT(parse(fake_image(version).put<std::uint16_t>(0x206, 0x20b)).error().message(),
              HasSubstr("2.11 is older"));
  EXPECT_THAT(parse(fake_image(version).put<std::uint16_t>(0x236, 0)).error().message(), HasSubstr("64-bit"));
  EXPECT_THAT(parse(fake_image(version).put<std::uint32_t>(0x260, 0)).error().message(),
              HasSubstr("damaged"));
  EXPECT_THAT(parse(fake_image(version).put<std::uint32_t>(0x238, 0)).error().message(),
              HasSubstr("damaged"));
}

TEST(BootImage, PayloadMustBeThere) {
  const auto image = fake_image(version);
  EXPECT_TRUE(parse(image, image.bytes.size()));
  EXPECT_THAT(parse(image, image.bytes.size() - 1).error().message(), HasSubstr("cut short"));
  auto huge = fake_image(version).put<std::uint32_t>(0x248, 0xffffffff).put<std::uint32_t>(0x24c, 0xffffffff);
  EXPECT_THAT(parse(huge).error().message(), HasSubstr("cut short"));
  EXPECT_FALSE(parse(fake_image(version).put<std::uint32_t>(0x24c, 0)));
}

TEST(BootImage, EveryTruncationOfTheHeaderIsRefused) {
  const auto whole = fake_image(version);
  for (std::size_t size = 0; size < 0x264; ++size) {
    const std::string cut = whole.bytes.substr(0, size);  // a buffer of exactly that size, for the sanitizer
    EXPECT_FALSE(parse_boot_image(std::as_bytes(std::span(cut)), cut.size())) << size;
  }
}

TEST(BootImage, VersionStringOutsideOfTheSetupCodeIsNone) {
  for (const unsigned offset : {0U, 0xffffU, 0x7fffU, 2559U - 0x200U}) {
    const auto image = parse(fake_image(version).put(0x20e, static_cast<std::uint16_t>(offset)));
    ASSERT_TRUE(image);
    EXPECT_EQ(image->release, "") << offset;
  }
}

TEST(BootImage, VersionStringWithControlCharactersIsNone) {
  EXPECT_EQ(parse(fake_image("6.12\n7.3 x"))->release, "");
  EXPECT_EQ(parse(fake_image(std::string(600, 'x')))->release, "");
}

TEST(BootImage, ReadsAFileAndNamesIt) {
  const std::string path = testing::TempDir() + "/vmlinuz-" + std::to_string(::getpid());
  std::ofstream(path) << fake_image(version).bytes;
  EXPECT_EQ(read_boot_image(path)->release, "6.12.117+deb13-cloud-amd64");
  std::ofstream(path) << "#!/bin/sh\n";
  EXPECT_THAT(read_boot_image(path).error().message(), HasSubstr(path));
  EXPECT_THAT(read_boot_image(testing::TempDir()).error().message(), HasSubstr("is no file"));
  EXPECT_EQ(read_boot_image("/does/not/exist").error().code(), ENOENT);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace upkeep::kexec
