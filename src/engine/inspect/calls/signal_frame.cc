#include "engine/inspect/calls/signal_frame.h"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "os/restart_codes.h"

namespace upkeep::engine {
namespace {

// arch/x86/include/uapi/asm/sigcontext.h and ucontext.h; libc's ucontext_t has the same beginning.
struct Context {
  std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
  std::uint16_t cs, gs, fs, ss;
  std::uint64_t err, trapno, oldmask, cr2, fpstate, reserved[8];
};
struct Frame {
  std::uint64_t restorer;
  std::uint64_t flags, link;
  std::uint64_t stack_pointer;
  std::uint32_t stack_flags, padding;
  std::uint64_t stack_size;
  Context context;
  std::uint64_t mask;
  std::uint8_t siginfo[128];
};
static_assert(sizeof(Frame) == 8 + 40 + 256 + 8 + 128);

constexpr std::uint64_t kHasXstate = 1, kHasSs = 2, kStrictSs = 4;  // UC_FP_XSTATE and so on
constexpr std::uint32_t kNoSuchStack = 0xffffffff;                  // no valid ss_flags

// struct _fpx_sw_bytes, in the last bytes of the legacy area
struct SoftwareBytes {
  std::uint32_t magic, extended_size;
  std::uint64_t xfeatures;
  std::uint32_t xstate_size, padding[7];
};
constexpr std::size_t kSoftwareBytes = 464;
constexpr std::uint32_t kMagic1 = 0x46505853, kMagic2 = 0x46505845;

// Asked once: in a virtual machine each cpuid instruction is a visit to the host. Supervisor states are not
// in this format: 0.
std::array<std::uint32_t, 63> ends_of_states() {
  std::array<std::uint32_t, 63> ends = {};
  for (unsigned feature = 2; feature < ends.size(); ++feature) {
    std::uint32_t size = 0, offset = 0, flags = 0, unused = 0;
    __cpuid_count(0xd, feature, size, offset, flags, unused);
    if ((flags & 1U) == 0) ends[feature] = offset + size;
  }
  return ends;
}

std::size_t aligned(std::size_t value, std::size_t to) { return (value + to - 1) / to * to; }

}  // namespace

std::uint32_t xstate_size(std::uint64_t xfeatures) {
  static const auto ends = ends_of_states();
  std::uint32_t end = 576;  // the legacy area and the header
  for (unsigned feature = 2; feature < 63; ++feature) {
    if ((xfeatures & ~kAmxFeatures & (1ULL << feature)) != 0) end = std::max(end, ends[feature]);
  }
  return end;
}

user_regs_struct as_seen_by_handler(user_regs_struct registers) {
  if (static_cast<long>(registers.orig_rax) < 0) return registers;
  switch (static_cast<long>(registers.rax)) {
    case os::kRestartSys:
    case os::kRestartNoIntr:
    case os::kRestartNoHand:
      registers.rax = registers.orig_rax;
      registers.rip -= 2;
      break;
    case os::kRestartBlock:
      // sigreturn(2) clears the restart block: the call cannot go on, and says so as it does after any
      // handler.
      registers.rax = static_cast<unsigned long long>(-EINTR);
      break;
    default:
      break;
  }
  registers.orig_rax = ~0ULL;
  return registers;
}

std::vector<std::uint8_t> build_signal_frame(std::uint64_t address, std::uint64_t restorer,
                                             const user_regs_struct& registers, std::uint64_t signal_mask,
                                             const std::vector<std::uint8_t>& xstate) {
  const std::size_t fpstate = aligned(sizeof(Frame), 64);
  std::uint64_t xfeatures = 0;
  std::memcpy(&xfeatures, xstate.data() + kSoftwareBytes, sizeof xfeatures);  // XCR0, as ptrace gives it
  const std::uint32_t size = std::min(xstate_size(xfeatures), static_cast<std::uint32_t>(xstate.size()));

  Frame frame = {};
  frame.restorer = restorer;
  frame.flags = kHasXstate | kHasSs | kStrictSs;
  frame.stack_flags = kNoSuchStack;
  const auto r = as_seen_by_handler(registers);
  frame.context = {r.r8,
                   r.r9,
                   r.r10,
                   r.r11,
                   r.r12,
                   r.r13,
                   r.r14,
                   r.r15,
                   r.rdi,
                   r.rsi,
                   r.rbp,
                   r.rbx,
                   r.rdx,
                   r.rax,
                   r.rcx,
                   r.rsp,
                   r.rip,
                   r.eflags & ~kTrapFlag,
                   static_cast<std::uint16_t>(r.cs),
                   0,
                   0,
                   static_cast<std::uint16_t>(r.ss),
                   0,
                   0,
                   0,
                   0,
                   address + fpstate,
                   {}};
  frame.mask = signal_mask;

  std::vector<std::uint8_t> bytes(fpstate + size + sizeof kMagic2);
  std::memcpy(bytes.data(), &frame, sizeof frame);
  std::memcpy(bytes.data() + fpstate, xstate.data(), size);
  SoftwareBytes software = {
      kMagic1, size + static_cast<std::uint32_t>(sizeof kMagic2), xfeatures & ~kAmxFeatures, size, {}};
  std::memcpy(bytes.data() + fpstate + kSoftwareBytes, &software, sizeof software);
  std::memcpy(bytes.data() + fpstate + size, &kMagic2, sizeof kMagic2);
  return bytes;
}

}  // namespace upkeep::engine
