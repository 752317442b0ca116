#include "kexec/command_line.h"

#include <gmock/gmock.h>

namespace upkeep::kexec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Additions = std::vector<std::string>;

constexpr std::string_view machines_own =
    "BOOT_IMAGE=/boot/vmlinuz-6.12.117 root=UUID=52f1 ro console=ttyS0,115200 systemd.unit=multi-user.target "
    "quiet\n";

std::string next(std::string_view running, const Additions& additions) {
  auto line = command_line_for_new_kernel(running, additions, 2047);
  return line ? *line : "error: " + line.error().message();
}

TEST(CommandLine, SplitsOutsideOfQuotes) {
  const auto line = CommandLine::parse("  a=1\tb=\"x y\"  \"c d=e f\" g\n");
  EXPECT_THAT(line.parameters(), ElementsAre("a=1", "b=\"x y\"", "\"c d=e f\"", "g"));
  EXPECT_EQ(line.value("b"), "x y");
  EXPECT_EQ(line.value("c d"), "e f");
  EXPECT_TRUE(line.has("g"));
  EXPECT_FALSE(line.has("h"));
}

TEST(CommandLine, QuoteWithoutEndGoesToTheEnd) {
  EXPECT_THAT(CommandLine::parse("a=\"b c -- d").parameters(), ElementsAre("a=\"b c -- d"));
  EXPECT_THAT(CommandLine::parse("\"").parameters(), ElementsAre("\""));
  EXPECT_EQ(parameter_name("\""), "");
}

TEST(CommandLine, ZeroByteEndsIt) {
  EXPECT_THAT(CommandLine::parse(std::string_view("a\0b", 3)).parameters(), ElementsAre("a"));
}

TEST(CommandLine, NamesAreSpelledBothWays) {
  auto line = CommandLine::parse("no-timer-check rcupdate.rcu_expedited=1 rcupdate.rcu-expedited=0");
  EXPECT_TRUE(line.has("no_timer_check"));
  EXPECT_EQ(line.value("rcupdate.rcu_expedited"), "0");
  line.remove("rcupdate.rcu_expedited");
  EXPECT_EQ(line.text(), "no-timer-check");
}

TEST(CommandLine, ArgumentsOfInitStayBehindTheBorder) {
  EXPECT_EQ(next("root=/dev/vda1 -- --unit=rescue.target", {"nokaslr"}),
            "upkeep.begin nokaslr upkeep.end root=/dev/vda1 -- --unit=rescue.target");
}

TEST(NewCommandLine, KeepsTheMachinesOwn) {
  EXPECT_EQ(next(machines_own, {"memmap=1G$0x140000000", "upkeep.store=0x140000000"}),
            "upkeep.begin memmap=1G$0x140000000 upkeep.store=0x140000000 upkeep.end "
            "root=UUID=52f1 ro console=ttyS0,115200 systemd.unit=multi-user.target quiet");
  EXPECT_EQ(next(machines_own, {}),
            "root=UUID=52f1 ro console=ttyS0,115200 systemd.unit=multi-user.target quiet");
}

TEST(NewCommandLine, DropsWhatBelongsToTheBootLoader) {
  EXPECT_EQ(
      next("initrd=/i.img rdinit=/bin/x root=/dev/vda1 elfcorehdr=0x1 kexec_jump_back_entry=0x2 memmap=4M$8M",
           {}),
      "root=/dev/vda1 memmap=4M$8M");
}

TEST(NewCommandLine, ThreeUpgradesDoNotGrowIt) {
  const auto once = next(machines_own, {"memmap=1G$0x140000000", "cryptomgr.notests"});
  const auto other = next(next(once, {"memmap=2G$0x180000000"}), {"lpj=1"});
  EXPECT_EQ(next(other, {"memmap=1G$0x140000000", "cryptomgr.notests"}), once);
  EXPECT_EQ(own_command_line(once), own_command_line(other));
  EXPECT_EQ(own_command_line(other), next(machines_own, {}));
}

TEST(NewCommandLine, LeftoversWithoutTheirMarksGoToo) {
  EXPECT_EQ(own_command_line("a upkeep.begin memmap=1G$2G b"), "a memmap=1G$2G b");
  EXPECT_EQ(own_command_line("a upkeep.end upkeep.store=0x1 b upkeep.begin"), "a b");
  EXPECT_EQ(own_command_line("a upkeep.begin upkeep.begin x upkeep.end b upkeep.begin y upkeep.end c"),
            "a b c");
}

TEST(NewCommandLine, TooLongIsAnError) {
  EXPECT_TRUE(command_line_for_new_kernel("abcdefgh", {}, 8));
  const auto line = command_line_for_new_kernel("abcdefghi", {}, 8);
  EXPECT_THAT(line.error().message(), HasSubstr("9 bytes"));
}

TEST(NewCommandLine, AdditionsCannotBreakOut) {
  for (const auto* addition : {"", "a b", "--", "upkeep.end", "upkeep.begin", " a", "a\n"})
    EXPECT_FALSE(command_line_for_new_kernel("root=x", {addition}, 2047)) << addition;
  EXPECT_TRUE(command_line_for_new_kernel("root=x", {"dyndbg=\"file a.c +p\""}, 2047));
}

}  // namespace
}  // namespace upkeep::kexec
