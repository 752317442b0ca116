#pragma once
// The header of a bzImage (Documentation/arch/x86/boot.rst), read before the kernel is trusted with the
// machine: what kexec would only find out too late is refused here.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/result.h"

namespace upkeep::kexec {

struct BootImage {
  unsigned protocol = 0;  // 0x020f is 2.15
  std::string version;    // "6.12.117+deb13-cloud-amd64 (debian-kernel@…) #1 SMP …"
  std::string release;    // its first word
  bool relocatable = false;
  std::uint32_t alignment = 0;  // of the physical address, bytes
  std::uint64_t preferred_address = 0;
  std::uint64_t init_size =
      0;  // bytes of RAM, from where it is loaded, that the kernel needs before it knows any memory map
  std::uint32_t command_line_size = 0;  // at most so many bytes, without the final zero
  bool above_4g = false;                // may be loaded, with its initramfs, above 4 GB
  bool five_level_paging = false;
  std::uint64_t payload_offset = 0, payload_size = 0;  // of the compressed kernel, in the file
};

// FILE is the whole image, or at least its first 64 KB; FILE_SIZE tells where it ends. Refused: no bzImage, a
// boot protocol below 2.12 (Linux 3.8; no xloadflags before), no 64-bit entry, a payload that is not all
// there.
Result<BootImage> parse_boot_image(std::span<const std::byte> file, std::uint64_t file_size);
Result<BootImage> read_boot_image(const std::string& path);

}  // namespace upkeep::kexec
