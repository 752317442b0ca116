#include "kexec/fast_boot.h"

#include <gmock/gmock.h>

namespace upkeep::kexec {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view emulated =
    "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu de pse tsc hypervisor lahf_lm\nbogomips\t: "
    "4000.22\n\n"
    "processor\t: 1\nflags\t\t: fpu constant_tsc\nbogomips\t: 1.0\n";
constexpr std::string_view hardware =
    "processor\t: 0\nflags\t\t: fpu tsc constant_tsc nonstop_tsc\nbogomips\t: 5988.00\n";

std::vector<std::string> parameters(const BootFacts& facts, std::string_view own = "root=/dev/vda1") {
  std::vector<std::string> names;
  for (const auto& one : fast_boot_parameters(facts, own)) {
    EXPECT_FALSE(one.why.empty()) << one.parameter;
    names.push_back(one.parameter);
  }
  return names;
}

TEST(FastBoot, EmulatedMachine) {
  const auto facts = read_boot_facts(emulated, "0\n", "root=/dev/vda1", 250);
  EXPECT_TRUE(facts.under_hypervisor);
  EXPECT_FALSE(facts.constant_tsc);
  // 4000.22 * 500000 / 250
  EXPECT_THAT(parameters(facts),
              ElementsAre("cryptomgr.notests", "no_timer_check", "rcupdate.rcu_expedited=1", "lpj=8000440"));
}

TEST(FastBoot, DelayLoopIsPerJiffyOfTheTarget) {
  EXPECT_THAT(parameters(read_boot_facts(emulated, "", "", 1000)), testing::Contains("lpj=2000110"));
  EXPECT_THAT(parameters(read_boot_facts(emulated, "", "", 0)),
              testing::Not(testing::Contains(testing::StartsWith("lpj"))));
}

TEST(FastBoot, HardwareWithAConstantTscCalibratesByIt) {
  EXPECT_THAT(parameters(read_boot_facts(hardware, "", "", 250)),
              ElementsAre("cryptomgr.notests", "rcupdate.rcu_expedited=1"));
}

TEST(FastBoot, FipsKeepsTheSelfTests) {
  EXPECT_THAT(parameters(read_boot_facts(hardware, "1\n", "", 250)), ElementsAre("rcupdate.rcu_expedited=1"));
  EXPECT_THAT(parameters(read_boot_facts(hardware, "", "fips=1", 250)),
              ElementsAre("rcupdate.rcu_expedited=1"));
}

TEST(FastBoot, TheOperatorsWordCounts) {
  EXPECT_THAT(parameters(read_boot_facts(emulated, "", "", 250),
                         "rcupdate.rcu-expedited=0 lpj=5 no_timer_check cryptomgr.notests=0"),
              IsEmpty());
}

TEST(FastBoot, WhatStaysOnIsSwitchedOffAfterwards) {
  for (const auto& one : fast_boot_parameters(read_boot_facts(emulated, "", "", 250), ""))
    EXPECT_EQ(one.undo_file.empty(), !one.parameter.starts_with("rcupdate")) << one.parameter;
}

TEST(FastBoot, StrangeCpuinfo) {
  for (const std::string_view text : {"", "\n", ":", "bogomips", "bogomips\t: nan\nflags: \n",
                                      "bogomips: -5\n", "bogomips: 1e999\n", "flags\t\t: hypervisors\n"}) {
    const auto facts = read_boot_facts(text, "", "", 250);
    EXPECT_EQ(facts.bogomips, 0) << text;
    EXPECT_FALSE(facts.under_hypervisor) << text;
  }
}

}  // namespace
}  // namespace upkeep::kexec
