#pragma once
// SO_MARK of packets by which what has not been read is put back: those that a held network lets pass.

#include <cstdint>

namespace upkeep::os {

inline constexpr std::uint32_t kPutBackMark = 0x75706b70;

}  // namespace upkeep::os
