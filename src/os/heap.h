#pragma once
// How libc's memory grows.

namespace upkeep::os {

// Asks the kernel for more in steps that suit whoever reads a large manifest, or makes one: each step is a
// call that the page faults of all other threads wait for (mallopt(3), M_TOP_PAD). What is freed is kept, a
// text of some 100 KiB too, which would else be a mapping with page faults of its own each time.
void grow_heap_in_large_steps();

}  // namespace upkeep::os
