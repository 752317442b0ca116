#pragma once
// The code that the kernel maps into every process, vdso(7): a small ELF library, with pages of data below it
// ([vvar], from 6.13 on also [vvar_vclock]), which the code reads clocks from.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::os {

// Ours, which is that of every 64-bit process under this kernel. Addresses are this process's.
struct Vdso {
  std::uint64_t start = 0, code = 0, end = 0;  // data from START to CODE
  std::span<const std::byte> image() const {
    return {reinterpret_cast<const std::byte*>(code), static_cast<std::size_t>(end - code)};
  }
};
Result<std::optional<Vdso>> own_vdso();  // none: the kernel was started with vdso=0
// MAPS: /proc/PID/maps.
std::optional<Vdso> parse_vdso(std::string_view maps);

// What an image exports; the same code may have several names.
struct VdsoFunction {
  std::string name;
  std::uint64_t offset = 0, size = 0;  // bytes, within the image
};
Result<std::vector<VdsoFunction>> vdso_functions(std::span<const std::byte> image);

}  // namespace upkeep::os
