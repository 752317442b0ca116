#include "memory/physical_range.h"

#include <gmock/gmock.h>

namespace upkeep::memory {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A 4 GB virtual machine, with a range that an earlier upgrade left soft reserved and one handed back by
// kmem.
constexpr std::string_view kIomem =
    "00000000-00000fff : Reserved\n"
    "00001000-0009fbff : System RAM\n"
    "000f0000-000fffff : System ROM\n"
    "00100000-6fffffff : System RAM\n"
    "  01000000-02208d87 : Kernel code\n"
    "70000000-77ffffff : Soft Reserved\n"
    "  70000000-77ffffff : dax0.0\n"
    "    70000000-77ffffff : System RAM (kmem)\n"
    "78000000-bffdffff : System RAM\n"
    "fec00000-fec003ff : IOAPIC 0\n"
    "100000000-13fffffff : System RAM\n";

TEST(PhysicalRange, MergesOverlappingAndTouchingOnes) {
  EXPECT_THAT(merged({{300, 50}, {100, 100}, {200, 10}, {205, 20}, {0, 0}}),
              ElementsAre(PhysicalRange{100, 125}, PhysicalRange{300, 50}));
}

TEST(PhysicalRange, WithoutCutsHolesAtBothEndsAndInTheMiddle) {
  const std::vector<PhysicalRange> from{{100, 100}};
  EXPECT_THAT(without(from, std::vector<PhysicalRange>{{50, 60}, {120, 10}, {190, 100}}),
              ElementsAre(PhysicalRange{110, 10}, PhysicalRange{130, 60}));
  EXPECT_THAT(without(from, std::vector<PhysicalRange>{{0, 1000}}), IsEmpty());
  EXPECT_THAT(without(from, {}), ElementsAre(PhysicalRange{100, 100}));
}

TEST(PhysicalRange, WholeBlocks) {
  EXPECT_EQ(whole_blocks({100 * kMiB, 300 * kMiB}, 128 * kMiB), (PhysicalRange{128 * kMiB, 256 * kMiB}));
  EXPECT_EQ(whole_blocks({100 * kMiB, 100 * kMiB}, 128 * kMiB).size, 0U);
}

TEST(Iomem, SystemRamIsTopLevelOnly) {
  EXPECT_THAT(parse_system_ram(kIomem).value(),
              ElementsAre(PhysicalRange{0x1000, 0x9ec00}, PhysicalRange{0x100000, 0x6ff00000},
                          PhysicalRange{0x78000000, 0x47fe0000}, PhysicalRange{0x100000000, 0x40000000}));
}

TEST(Iomem, HiddenAddressesAndNonsenseAreErrors) {
  const auto hidden = parse_system_ram("00000000-00000000 : System RAM\n");
  ASSERT_FALSE(hidden);
  EXPECT_THAT(hidden.error().message(), HasSubstr("needs root"));
  for (const char* text :
       {"", "x", "-", "10-", "10-5 : System RAM", "10-20 System RAM", "10-20 :", "zz-20 : System RAM",
        "0-ffffffffffffffff : System RAM", "10000000000000000-2 : System RAM"})
    EXPECT_FALSE(parse_system_ram(text)) << text;
}

TEST(KexecWindow, IsTheLargestStretchBelowFourGigabytesBesideTheStore) {
  const auto ram = parse_system_ram(kIomem).value();
  const std::vector<PhysicalRange> store{{0x30000000, 256 * kMiB}, {0x80000000, 128 * kMiB}};
  EXPECT_EQ(kexec_window(ram, store, 256 * kMiB).value(), (PhysicalRange{0x88000000, 0x37fe0000}));
  for (const auto& range : store) EXPECT_FALSE(kexec_window(ram, store, 256 * kMiB).value().overlaps(range));
}

TEST(KexecWindow, NeverTakesTheFirstSixteenMegabytes) {
  const std::vector<PhysicalRange> ram{{0x100000, 31 * kMiB}};
  EXPECT_EQ(kexec_window(ram, {}, kMiB).value(), (PhysicalRange{16 * kMiB, 16 * kMiB}));
}

TEST(KexecWindow, GoesAboveFourGigabytesOnlyWhereBelowIsTooLittle) {
  const std::vector<PhysicalRange> ram{{16 * kMiB, 300 * kMiB}, {4 * kGiB, 8 * kGiB}};
  EXPECT_EQ(kexec_window(ram, {}, 256 * kMiB).value().start, 16 * kMiB);
  EXPECT_EQ(kexec_window(ram, {}, 512 * kMiB).value().start, 4 * kGiB);
  const auto none = kexec_window(ram, std::vector<PhysicalRange>{{4 * kGiB, 8 * kGiB}}, 512 * kMiB);
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message(), HasSubstr("300 MB"));
}

TEST(KernelParameters, FourRegionsForKaslrThenSoftReservedThenTheAddress) {
  const std::vector<PhysicalRange> ranges{
      {0x48000000, 128 * kMiB}, {0x40000000, 128 * kMiB}, {0x60200000, 6 * kMiB}};
  EXPECT_THAT(kernel_parameters(ranges, 0x40000000),
              ElementsAre("memmap=256M$0x40000000,6M$0x60200000,256M$0x40000000,256M$0x40000000",
                          "memmap=256M%0x40000000-2+0xefffffff,6M%0x60200000-2+0xefffffff",
                          "upkeep.store=0x40000000"));
}

TEST(KernelParameters, MoreThanFourRegionsStayInOneListSoThatKaslrGivesUp) {
  std::vector<PhysicalRange> ranges;
  for (std::uint64_t i = 1; i <= 6; ++i) ranges.push_back({i * kGiB, 2 * kMiB});
  const auto parameters = kernel_parameters(ranges, ranges[0].start);
  ASSERT_EQ(parameters.size(), 3U);
  EXPECT_EQ(std::ranges::count(parameters[0], '$'), 6);
  EXPECT_THAT(kernel_parameters({}, 0), IsEmpty());
}

// What is widened as far as RAM reaches may end anywhere; that end stays reserved.
TEST(KernelParameters, OnlyMultiplesOfTwoMegabytesAreSoftReserved) {
  const std::vector<PhysicalRange> ranges{{0xb0000000, 0xffe1000}};
  EXPECT_THAT(
      kernel_parameters(ranges, 0xb0200000),
      ElementsAre(
          "memmap=0xffe1000$0xb0000000,0xffe1000$0xb0000000,0xffe1000$0xb0000000,0xffe1000$0xb0000000",
          "memmap=254M%0xb0000000-2+0xefffffff", "upkeep.store=0xb0200000"));
}

TEST(Widened, ToWholeBlocksAsFarAsRamReaches) {
  const std::vector<PhysicalRange> ram{{0x100000, 0xbfee1000}, {4 * kGiB, kGiB}};
  const std::vector<PhysicalRange> ranges{
      {0xb8200000, 2 * kMiB}, {4 * kGiB + 6 * kMiB, 2 * kMiB}, {0x200000, 2 * kMiB}};
  EXPECT_THAT(widened(ranges, ram),
              ElementsAre(PhysicalRange{0x100000, 127 * kMiB}, PhysicalRange{0xb8000000, 0x7fe1000},
                          PhysicalRange{4 * kGiB, 128 * kMiB}));
  EXPECT_THAT(widened(std::vector<PhysicalRange>{{8 * kGiB, kMiB}}, ram),
              ElementsAre(PhysicalRange{8 * kGiB, kMiB}));
}

// The longest line that can come out must leave room for the machine's own parameters in 2048 bytes.
TEST(KernelParameters, TwelveRangesFit) {
  std::vector<PhysicalRange> ranges;
  for (std::uint64_t i = 1; i <= 12; ++i) ranges.push_back({i * 0x1000000000 + 0x7fe00000, 1022 * kMiB});
  std::size_t length = 0;
  for (const auto& parameter : kernel_parameters(ranges, ranges[0].start)) length += parameter.size() + 1;
  EXPECT_LT(length, 1024U);
}

TEST(Widened, CoversWholeBlocksInsideRam) {
  const std::vector<PhysicalRange> ram = {{0x100000, 0x7fedd000}, {0x100000000, 0x80000000}};
  // In the middle of RAM: to both sides up to the next multiple of 128 MB.
  EXPECT_THAT(widened(std::vector<PhysicalRange>{{0x118200000, 0x5200000}}, ram),
              testing::ElementsAre(PhysicalRange{0x118000000, 0x8000000}));
  // Never over the edge of RAM, where the firmware's own things may lie.
  EXPECT_THAT(widened(std::vector<PhysicalRange>{{0x7c000000, 0x2000000}}, ram),
              testing::ElementsAre(PhysicalRange{0x78000000, 0x7fdd000}));
  // Neighbours become one.
  EXPECT_THAT(widened(std::vector<PhysicalRange>{{0x118200000, 0x200000}, {0x11fe00000, 0x200000}}, ram),
              testing::ElementsAre(PhysicalRange{0x118000000, 0x8000000}));
}

}  // namespace
}  // namespace upkeep::memory
