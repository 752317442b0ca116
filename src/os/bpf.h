#pragma once
// Programs that the kernel runs for us: bpf(2), and the kernel's documentation
// bpf/standardization/instruction-set.rst. They only look; nothing of them stays when their descriptors are
// closed.

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os::bpf {

template <typename Attributes>
int call(int command, Attributes& attributes) {
  return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

enum Register : std::uint8_t { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, frame };

constexpr bpf_insn instruction(int code, Register to, int from, int offset, std::int32_t immediate) {
  bpf_insn one = {};
  one.code = static_cast<std::uint8_t>(code);
  one.dst_reg = static_cast<std::uint8_t>(to & 0xf);
  one.src_reg = static_cast<std::uint8_t>(from & 0xf);
  one.off = static_cast<std::int16_t>(offset);
  one.imm = immediate;
  return one;
}
constexpr bpf_insn move(Register to, Register from) {
  return instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}
constexpr bpf_insn set(Register to, std::int32_t value) {
  return instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value);
}
constexpr bpf_insn add(Register to, std::int32_t value) {
  return instruction(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value);
}
// Of eight bytes.
constexpr bpf_insn load(Register to, Register from, std::ptrdiff_t at) {
  return instruction(BPF_LDX | BPF_MEM | BPF_DW, to, from, static_cast<int>(at), 0);
}
constexpr bpf_insn store(Register to, std::ptrdiff_t at, Register from) {
  return instruction(BPF_STX | BPF_MEM | BPF_DW, to, from, static_cast<int>(at), 0);
}
constexpr bpf_insn clear(Register to, std::ptrdiff_t at) {
  return instruction(BPF_ST | BPF_MEM | BPF_DW, to, 0, static_cast<int>(at), 0);
}
constexpr bpf_insn call_helper(bpf_func_id helper) {
  return instruction(BPF_JMP | BPF_CALL, r0, 0, 0, helper);
}
constexpr bpf_insn either(Register to, Register from) {
  return instruction(BPF_ALU64 | BPF_OR | BPF_X, to, from, 0, 0);
}
// Leaves out that many instructions where the register holds the value.
constexpr bpf_insn skip_if(Register one, std::int32_t value, int instructions) {
  return instruction(BPF_JMP | BPF_JEQ | BPF_K, one, 0, instructions, value);
}
constexpr bpf_insn exit_program() { return instruction(BPF_JMP | BPF_EXIT, r0, 0, 0, 0); }

// ATTRIBUTES say of what type it is. WHAT it is goes into the error.
Result<UniqueFd> load_program(std::span<const bpf_insn> instructions, bpf_attr attributes, const char* what);

}  // namespace upkeep::os::bpf
