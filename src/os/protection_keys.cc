#include "os/protection_keys.h"

#include <cpuid.h>

#include <cstddef>
#include <cstring>

namespace upkeep::os {

// Asked once: where the machine is a virtual one, cpuid leaves it.
bool has_protection_keys() {
  static const bool has = [] {
    constexpr unsigned kOspke = 1U << 4U;
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kOspke) != 0;
  }();
  return has;
}

// rdpkru and wrpkru, which the compiler knows only where it is told that every processor has them.
std::uint32_t own_key_rights() {
  std::uint32_t rights = 0, unused = 0;
  asm volatile(".byte 0x0f, 0x01, 0xee" : "=a"(rights), "=d"(unused) : "c"(0));
  return rights;
}

void set_own_key_rights(std::uint32_t rights) {
  asm volatile(".byte 0x0f, 0x01, 0xef" : : "a"(rights), "c"(0), "d"(0) : "memory");
}

std::uint32_t key_rights(std::span<const std::uint8_t> xsave_area) {
  static const std::size_t place = [] {  // in the standard format
    constexpr unsigned kPkru = 9;
    unsigned size = 0, offset = 0, unused = 0;
    return __get_cpuid_count(0xd, kPkru, &size, &offset, &unused, &unused) != 0 && size != 0 ? offset : 0;
  }();
  std::uint32_t rights = 0;
  if (!has_protection_keys() || place == 0 || xsave_area.size() < place + sizeof rights) return 0;
  std::memcpy(&rights, xsave_area.data() + place, sizeof rights);
  return rights;
}

}  // namespace upkeep::os
