#pragma once
// How mappings say which open file they need, where no path leads to it.

#include <cstdint>
#include <map>
#include <tuple>

namespace upkeep::engine {

// st_dev and st_ino that the file had; whether it is open for writing.
using KeptKey = std::tuple<std::uint64_t, std::uint64_t, bool>;
// Descriptors of the process that restores.
using KeptDescriptors = std::map<KeptKey, int>;

}  // namespace upkeep::engine
