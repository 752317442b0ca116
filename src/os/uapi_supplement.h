#pragma once
// What the kernel offers and the headers of the oldest supported build machine (Linux 6.1, glibc 2.36) lack.

#include <cstdint>

namespace upkeep::os {

inline constexpr int kPtraceGetRseqConfiguration = 0x420f;            // linux/ptrace.h, 5.13
inline constexpr int kPtraceGetSyscallUserDispatch = 0x4211;          // linux/ptrace.h, 6.4
inline constexpr int kPrSetMdwe = 65, kPrGetMdwe = 66;                // linux/prctl.h, 6.3
inline constexpr int kPrSetMemoryMerge = 67, kPrGetMemoryMerge = 68;  // linux/prctl.h, 6.4
inline constexpr int kPrTimerCreateRestoreIds = 77;                   // linux/prctl.h, 6.15
inline constexpr int kArchMapVdso64 = 0x2003;                         // asm/prctl.h, under CHECKPOINT_RESTORE
inline constexpr int kMapDroppable = 0x08;                            // linux/mman.h, 6.11
inline constexpr int kMadvGuardInstall = 102;                         // asm-generic/mman-common.h, 6.13
inline constexpr int kArchGetUntagMask = 0x4001;                      // asm/prctl.h, 6.4
inline constexpr int kArchGetXcompPerm = 0x1022;                      // asm/prctl.h, 5.16

// PAGEMAP_SCAN of linux/fs.h, 6.7.
struct PageRegion {
  std::uint64_t start = 0, end = 0, categories = 0;
};
struct PagemapScan {
  std::uint64_t size = 0, flags = 0, start = 0, end = 0, walk_end = 0, vec = 0, vec_len = 0, max_pages = 0,
                category_inverted = 0, category_mask = 0, category_anyof_mask = 0, return_mask = 0;
};
static_assert(sizeof(PagemapScan) == 96);
inline constexpr unsigned long kPagemapScan = 0xc0606610;  // _IOWR('f', 16, struct pm_scan_arg)
inline constexpr std::uint64_t kPageIsFile = 1U << 2U, kPageIsPresent = 1U << 3U, kPageIsSwapped = 1U << 4U,
                               kPageIsZero = 1U << 5U, kPageIsGuard = 1U << 8U;

// struct sched_attr of linux/sched/types.h in its first version; sched_setattr(2). glibc has it from 2.41 on.
struct SchedulingAttributes {
  std::uint32_t size, policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime, deadline, period;
};

}  // namespace upkeep::os
