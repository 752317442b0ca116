#pragma once
// Ranges of physical memory, in bytes: where the store lies, where the machine's RAM is, and what is left of
// it for the next kernel to be loaded into. Nothing here touches the machine; texts and numbers come from the
// caller.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/page_size.h"
#include "common/result.h"

namespace upkeep::memory {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

struct PhysicalRange {
  std::uint64_t start = 0;
  std::uint64_t size = 0;
  std::uint64_t end() const { return start + size; }  // first byte behind it
  bool overlaps(const PhysicalRange& other) const { return start < other.end() && other.start < end(); }
  bool operator==(const PhysicalRange&) const = default;
};

// "[0x40000000-0x4fffffff] 256 MB", as the kernel's own messages write it (the last byte is inside).
std::string text(const PhysicalRange& range);

// Sorted by address; overlapping and touching ones joined.
std::vector<PhysicalRange> merged(std::vector<PhysicalRange> ranges);
std::uint64_t total_size(std::span<const PhysicalRange> ranges);

// What is in FROM and not in TAKEN.
std::vector<PhysicalRange> without(std::span<const PhysicalRange> from, std::span<const PhysicalRange> taken);

// The part of RANGE that consists of whole blocks of BLOCK_SIZE (a power of two); size 0 where there is none.
PhysicalRange whole_blocks(const PhysicalRange& range, std::uint64_t block_size);

// A line of /proc/iomem; what is below another line has a greater depth. Lines that are none are left out.
struct IomemLine {
  unsigned depth = 0;
  PhysicalRange range;
  std::string name;
};
std::vector<IomemLine> parse_iomem(std::string_view iomem);

// The top-level "System RAM" lines of /proc/iomem. Memory that was handed back by hand_back.h is "System RAM
// (kmem)" below a "Soft Reserved" line and is left out on purpose: the next kernel should not be loaded into
// it. Without CAP_SYS_ADMIN the kernel shows zeros for all addresses; that is an error here.
Result<std::vector<PhysicalRange>> parse_system_ram(std::string_view iomem);

// RANGES widened to multiples of ALIGNMENT (a power of two), as far as RAM reaches, merged: what the new
// kernel is told to leave alone. Wider than the store for two reasons. Where RAM ends at an odd address, x86
// calls the rest up to the next multiple of 64 MB "RAM buffer" (e820__reserve_resources_late) and lets nobody
// map it, /dev/mem included: the store could not be read. And only whole memory blocks can be handed back.
inline constexpr std::uint64_t kReserveAlignment = 128 * kMiB;
std::vector<PhysicalRange> widened(std::span<const PhysicalRange> ranges, std::span<const PhysicalRange> ram,
                                   std::uint64_t alignment = kReserveAlignment);

// RAM as the firmware described it (/sys/firmware/memmap): what the next kernel starts from, whatever became
// of it in this one.
Result<std::vector<PhysicalRange>> firmware_ram(const std::string& folder = "/sys/firmware/memmap");

// Where kexec may put the next kernel's segments (`kexec --mem-min/--mem-max`): the largest stretch of RAM
// that the store does not touch, below 4 GB where one of at least BYTES_NEEDED is there (a kernel placed
// above finds no memory for its DMA bounce buffers), otherwise anywhere. The first 16 MB are left to the
// kernel's DMA zone and trampoline. The window's present contents do not matter: kexec copies its segments
// there when the old kernel is gone, which is just why it must not touch the store.
Result<PhysicalRange> kexec_window(std::span<const PhysicalRange> ram, std::span<const PhysicalRange> store,
                                   std::uint64_t bytes_needed);

// What makes the new kernel leave RANGES alone, as command line parameters, in the order in which they must
// stand, before any memmap= of the machine's own:
//
//   memmap=SIZE$START,...               reserved: the only form that keeps the decompressor's KASLR away
//   memmap=SIZE%START-2+0xefffffff,...  then made soft reserved of reserved (2): what dax_hmem can later give
//                                       to the page allocator (hand_back.h). Only multiples of 2 MB: dax_hmem
//                                       fails on a region with another end, for all of it
//   upkeep.store=0x...                  STORE_ADDRESS, where the store's header lies
//
// What the sources say (arch/x86/boot/compressed/kaslr.c, arch/x86/kernel/e820.c, 5.10 and later):
// - KASLR knows $, # and !, at most four regions of them. A fifth in the same comma-separated list switches
//   physical randomisation off, which is safe: the kernel stays where kexec put it. A fifth in a memmap= of
//   its own used to be ignored silently, and the kernel could land on it: hence one list, and ours first.
// - KASLR takes "SIZE%..." for a limit like mem=SIZE, and then hardly finds a place to randomise to. It stops
//   reading memmap= after its fourth region, so the first range is repeated until there are four. (Where a
//   later kernel gives up at that point, or at any memmap=, the kernel stays where kexec put it.) The store
//   is safe in every case.
// - The kernel itself lets the higher type win where entries overlap (here: over the RAM entry), and drops
//   the second of two equal ones, so repeating changes nothing there. Two *touching* soft reserved entries
//   would never be joined, which is why ranges are merged first.
std::vector<std::string> kernel_parameters(std::span<const PhysicalRange> ranges,
                                           std::uint64_t store_address);

}  // namespace upkeep::memory
