#pragma once
// The vdso of another kernel. Its addresses are remembered by libc and by whoever else has looked functions
// up, so its code stays where it was, as ordinary memory. Each of its functions begins with a jump to this
// kernel's function of the same name, or makes the system call itself.
//
// Whoever was interrupted inside of it goes on in the old code. That finds zeros where the old kernel kept
// the clocks: an even sequence number and VDSO_CLOCKMODE_NONE, upon which it makes the system call
// (lib/vdso/gettimeofday.c, 5.3 to 7.x), and a random generator that is not ready (lib/vdso/getrandom.c).
// Coarse clocks and time(2) look at no mode: the stop keeps away from there (inspect/stop.cc).

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// What a process finds as its vdso from now on.
struct VdsoAtPlace {
  std::uint64_t start = 0;       // where the code begins
  std::vector<std::byte> image;  // empty: the kernel has none
};

// The image of OLD, redirected to NOW. AVOID: where threads stand; an error names a function that one of them
// is just entering.
Result<std::vector<std::byte>> redirect_vdso(const VdsoAtPlace& old, const VdsoAtPlace& now,
                                             const std::vector<std::uint64_t>& avoid);

// The nearest free place for SIZE bytes that a jump from NEAR reaches: within 2 GiB.
Result<std::uint64_t> find_vdso_place(const AddressSpace& memory, std::uint64_t near, std::uint64_t size);

}  // namespace upkeep::engine
