#pragma once
// What only the kernel knows of an io_uring: its structures, read where they are (os/kernel_memory.h).

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::engine {

struct KernelRing {
  std::uint32_t flags = 0;  // IORING_SETUP_ of linux/io_uring.h
  // Requests that were taken and have not ended, of whatever kind: each one holds a reference of the ring.
  std::uint64_t in_flight = 0;
  // What it has been given beyond that and that is not understood or not rebuilt; as the end of a sentence
  // that begins with "it has ".
  std::vector<std::string> more;
};

// RING: a descriptor of ours. The error says why this kernel does not tell, or that it is one whose
// structures are not known here. The numbers are exact only while nobody uses the ring.
Result<KernelRing> read_kernel_ring(os::Fd ring);

}  // namespace upkeep::engine
