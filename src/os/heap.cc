#include "os/heap.h"

#include <malloc.h>

namespace upkeep::os {

void grow_heap_in_large_steps() {
  constexpr int kStep = 4 << 20, kKept = 256 << 20;
  constexpr int kOwnMapping =
      32 << 20;  // the most that is possible; setting the others has fixed it at 128 KiB
  ::mallopt(M_TOP_PAD, kStep);
  ::mallopt(M_TRIM_THRESHOLD, kKept);
  ::mallopt(M_MMAP_THRESHOLD, kOwnMapping);
}

}  // namespace upkeep::os
