#include "kexec/kernel_config.h"

#include <gmock/gmock.h>

namespace upkeep::kexec {
namespace {

using testing::HasSubstr;

constexpr std::string_view complete =
    "CONFIG_BLK_DEV_INITRD=y\nCONFIG_DEVMEM=y\nCONFIG_CHECKPOINT_RESTORE=y\nCONFIG_TIME_NS=y\nCONFIG_NF_"
    "TABLES=m\n"
    "CONFIG_NF_TABLES_INET=y\nCONFIG_UNIX_DIAG=m\nCONFIG_INET_DIAG=m\nCONFIG_NETLINK_DIAG=m\nCONFIG_PACKET_"
    "DIAG=m\n"
    "CONFIG_USERFAULTFD=y\nCONFIG_KEXEC=y\n";

TEST(KernelConfig, Lines) {
  const auto config = parse_kernel_config(
      "#\n# Linux/x86 6.12.117 Kernel Configuration\n#\nCONFIG_HZ=250\nCONFIG_CC_VERSION_TEXT=\"gcc 14 = "
      "new\"\n"
      "# CONFIG_KEXEC_JUMP is not set\nCONFIG_TUN=m\nCONFIG_EMPTY=\"\"\nnonsense\nCONFIG_NO_END=y");
  EXPECT_EQ(config.size(), 5U);
  EXPECT_EQ(config.at("CONFIG_CC_VERSION_TEXT"), "gcc 14 = new");
  EXPECT_EQ(config.at("CONFIG_EMPTY"), "");
  EXPECT_TRUE(enabled(config, "CONFIG_TUN"));
  EXPECT_TRUE(enabled(config, "CONFIG_NO_END"));
  EXPECT_FALSE(enabled(config, "CONFIG_KEXEC_JUMP"));
  EXPECT_FALSE(enabled(config, "CONFIG_HZ"));
  EXPECT_EQ(config_number(config, "CONFIG_HZ"), 250U);
  EXPECT_EQ(config_number(config, "CONFIG_TUN"), 0U);
  EXPECT_EQ(config_number(config, "CONFIG_NONE"), 0U);
}

TEST(KernelConfig, NumbersThatDoNotFitAreNone) {
  EXPECT_EQ(config_number(parse_kernel_config("CONFIG_HZ=99999999999999999999"), "CONFIG_HZ"), 0U);
  EXPECT_EQ(config_number(parse_kernel_config("CONFIG_HZ=250x"), "CONFIG_HZ"), 0U);
  EXPECT_EQ(config_number(parse_kernel_config("CONFIG_HZ="), "CONFIG_HZ"), 0U);
}

TEST(KernelConfig, HostileText) {
  for (const std::string_view text : {"", "\n\n\n", "=", "CONFIG_", "CONFIG_A=\"", "CONFIG_A=\"\n"})
    EXPECT_LE(parse_kernel_config(text).size(), 1U) << text;
}

TEST(KernelConfig, ACompleteOneHasNoFindings) {
  EXPECT_TRUE(check_kernel_config(parse_kernel_config(complete), "7.3").empty());
}

TEST(KernelConfig, WhatIsMissingIsNamed) {
  std::string text(complete);
  text.erase(text.find("CONFIG_TIME_NS"), std::string_view("CONFIG_TIME_NS=y\n").size());
  const auto findings = check_kernel_config(parse_kernel_config(text), "7.3");
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].severity, Finding::Severity::refusal);
  EXPECT_THAT(findings[0].what, HasSubstr("7.3 is built without CONFIG_TIME_NS"));
  EXPECT_THAT(findings[0].why, HasSubstr("clocks"));
}

}  // namespace
}  // namespace upkeep::kexec
