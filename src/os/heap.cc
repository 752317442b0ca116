#include "os/heap.h"

#include <malloc.h>

namespace upkeep::os {

void grow_heap_in_large_steps() {
  constexpr int kStep = 4 << 20, kKept = 256 << 20;
  ::mallopt(M_TOP_PAD, kStep);
  ::mallopt(M_TRIM_THRESHOLD, kKept);
}

}  // namespace upkeep::os
