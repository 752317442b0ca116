#include "engine/model/task/seccomp.h"

namespace upkeep::engine {

Result<void> validate(const SeccompFilter& filter, const KnownObjects&) {
  constexpr std::size_t kInstruction = 8, kMost = 4096;  // struct sock_filter, BPF_MAXINSNS
  const auto size = filter.instructions.data.size();
  if (size == 0 || size % kInstruction != 0 || size / kInstruction > kMost)
    return Err("a seccomp filter of {} bytes", size);
  return {};
}

}  // namespace upkeep::engine
