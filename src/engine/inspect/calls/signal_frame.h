#pragma once
// The frame that the kernel leaves on a stack for a signal handler (struct rt_sigframe of arch/x86).
// Returning into it with sigreturn(2) gives a thread back its registers, its floating-point state and its
// signal mask: a thread that runs something for us from such a frame heals by itself if we die.

#include <sys/user.h>

#include <cstdint>
#include <vector>

#include "common/result.h"

namespace upkeep::engine {

// The bytes of a frame that lies at ADDRESS (aligned to 64). RESTORER: code that calls sigreturn; it is the
// frame's return address. The alternate stack is left as it is (sigreturn ignores one that makes no sense).
std::vector<std::uint8_t> build_signal_frame(std::uint64_t address, std::uint64_t restorer,
                                             const user_regs_struct& registers, std::uint64_t signal_mask,
                                             const std::vector<std::uint8_t>& xstate);
// Room that such a frame takes at most.
inline constexpr std::uint64_t kSignalFrameRoom = 16384;

// Registers as the kernel saves them for a handler: an interrupted system call is set back to its beginning,
// or ended with EINTR, as its error code says.
user_regs_struct as_seen_by_handler(user_regs_struct registers);

// The size of XSAVE's standard format for the features of XFEATURES, without those that a task has to ask for
// (AMX).
std::uint32_t xstate_size(std::uint64_t xfeatures);
inline constexpr std::uint64_t kTrapFlag = 0x100;  // of RFLAGS: single steps
inline constexpr std::uint64_t kAmxFeatures = 3ULL << 17U;

}  // namespace upkeep::engine
