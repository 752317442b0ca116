#pragma once
// Kernel modules as they lie on the disk (plain, .gz, .xz, .zst) to what init_module(2) takes. Done here and
// not in the new kernel, so that nothing is decompressed in the window. Recognised by content: a name proves
// nothing.

#include <cstddef>
#include <string>
#include <string_view>

#include "common/result.h"

namespace upkeep::initramfs {

// Far above any module; a bound against archives that unpack to everything there is.
inline constexpr std::size_t decompressed_limit = std::size_t{256} << 20;

// gzip, xz and zstd by their magic; anything else is given back as it is. Truncated, corrupted, trailing
// rubbish, more than LIMIT bytes: an error. A module's signature lies after the ELF file's end and is kept.
Result<std::string> decompress(std::string_view bytes, std::size_t limit = decompressed_limit);

// The module in the file PATH, decompressed. What comes out and is no ELF relocatable file for this kind of
// machine is an error.
Result<std::string> read_module(const std::string& path);

}  // namespace upkeep::initramfs
