#pragma once
// Protection keys of memory, pkeys(7).

#include <cstdint>
#include <span>

namespace upkeep::os {

inline constexpr std::uint32_t kProtectionKeys = 16;  // of x86-64

// Whether the processor has them and the kernel uses them.
bool has_protection_keys();

// What the calling thread may do with memory of each key (PKRU): two bits a key, the lower one forbids
// access, the higher one writing. Only where there are keys.
std::uint32_t own_key_rights();
void set_own_key_rights(std::uint32_t rights);

// The same of a thread whose XSAVE area this is; 0, everything, where there are no keys.
std::uint32_t key_rights(std::span<const std::uint8_t> xsave_area);

}  // namespace upkeep::os
