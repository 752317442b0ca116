#pragma once
// PID namespaces (pid_namespaces(7)): a process says itself which one it is in, and under which IDs.

#include <cstdint>

namespace upkeep::engine {

// The number of a PID namespace for children that nobody has been born into.
inline constexpr std::uint64_t kUnbornPidNamespace = ~0ULL;

}  // namespace upkeep::engine
