#include "os/bpf.h"

#include <cerrno>

namespace upkeep::os::bpf {

Result<UniqueFd> load_program(std::span<const bpf_insn> instructions, bpf_attr attributes, const char* what) {
  // bpf_probe_read_kernel() is only for programs under the kernel's own licence: these are, or under MIT's.
  const char* license = "Dual MIT/GPL";
  attributes.insns = reinterpret_cast<std::uintptr_t>(instructions.data());
  attributes.insn_cnt = static_cast<std::uint32_t>(instructions.size());
  attributes.license = reinterpret_cast<std::uintptr_t>(license);
  // A signal, even one that is ignored, interrupts the kernel's proof that it does no harm (EAGAIN); it is
  // out of the way when the call has returned.
  constexpr int kMostTries = 100;
  UniqueFd program(call(BPF_PROG_LOAD, attributes));
  for (int i = 1; i < kMostTries && !program.valid() && errno == EAGAIN; ++i)
    program.reset(call(BPF_PROG_LOAD, attributes));
  if (!program.valid()) return ErrnoErr("a BPF program that {} cannot be loaded", what);
  return program;
}

}  // namespace upkeep::os::bpf
