#pragma once
// What the processor has of a thread, and what the C library has registered of it.

#include <array>
#include <cstdint>

#include "common/text.h"

namespace upkeep::engine {

// user_regs_struct of sys/user.h in its order, raw: where a system call was interrupted rax is -ERESTART...
// and the kernel, not we, works out the restart.
struct Registers {
  std::array<std::uint64_t, 27> general = {};
  Bytes xstate;  // the XSAVE area as PTRACE_GETREGSET gives it
  bool operator==(const Registers&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("general", self.general);
    visit("xstate", self.xstate);
  }
};

// What PTRACE_GET_RSEQ_CONFIGURATION says.
struct RestartableSequence {
  std::uint64_t pointer = 0;
  std::uint32_t size = 0, signature = 0;
  bool operator==(const RestartableSequence&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pointer", self.pointer);
    visit("size", self.size);
    visit("signature", self.signature);
  }
};

}  // namespace upkeep::engine
