#include "kexec/boot_image.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "os/file.h"

namespace upkeep::kexec {
namespace {

// Offsets in the file, of "struct setup_header" and around it.
constexpr std::size_t setup_sects_at = 0x1f1, boot_flag_at = 0x1fe, magic_at = 0x202, protocol_at = 0x206,
                      kernel_version_at = 0x20e, alignment_at = 0x230, relocatable_at = 0x234,
                      xloadflags_at = 0x236, command_line_size_at = 0x238, payload_offset_at = 0x248,
                      payload_length_at = 0x24c, preferred_address_at = 0x258, init_size_at = 0x260,
                      header_end = 0x264;
constexpr unsigned kernel_64 = 1U << 0, can_be_loaded_above_4g = 1U << 1, five_level = 1U << 5;
constexpr std::size_t head_size = 64 << 10;  // setup code is at most 64 sectors

template <typename T>
T field(std::span<const std::byte> file, std::size_t offset) {  // little endian, as this machine is
  T value;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

// Written by the kernel's build into the setup code; the offset counts from the second sector.
std::string version_string(std::span<const std::byte> file, std::size_t setup_size) {
  const std::size_t offset = field<std::uint16_t>(file, kernel_version_at);
  if (offset == 0) return {};
  const std::size_t start = offset + 0x200, limit = std::min({setup_size, file.size(), start + 512});
  std::string text;
  for (std::size_t at = start; at < limit; ++at) {
    const auto c = static_cast<char>(file[at]);
    if (c == '\0') return text;
    if (c < ' ' || c > '~') return {};
    text.push_back(c);
  }
  return {};  // no end
}

}  // namespace

Result<BootImage> parse_boot_image(std::span<const std::byte> file, std::uint64_t file_size) {
  if (file.size() < header_end || field<std::uint16_t>(file, boot_flag_at) != 0xaa55 ||
      std::memcmp(file.data() + magic_at, "HdrS", 4) != 0)
    return Err("not an x86 kernel image (bzImage)");
  BootImage image;
  image.protocol = field<std::uint16_t>(file, protocol_at);
  if (image.protocol < 0x020c)
    return Err("boot protocol {}.{:02} is older than 2.12", image.protocol >> 8, image.protocol & 0xff);
  const unsigned flags = field<std::uint16_t>(file, xloadflags_at);
  if ((flags & kernel_64) == 0) return Err("not a 64-bit kernel");
  image.above_4g = (flags & can_be_loaded_above_4g) != 0;
  image.five_level_paging = (flags & five_level) != 0;
  image.relocatable = field<std::uint8_t>(file, relocatable_at) != 0;
  image.alignment = field<std::uint32_t>(file, alignment_at);
  image.preferred_address = field<std::uint64_t>(file, preferred_address_at);
  image.init_size = field<std::uint32_t>(file, init_size_at);
  image.command_line_size = field<std::uint32_t>(file, command_line_size_at);
  const unsigned sectors = field<std::uint8_t>(file, setup_sects_at);
  const std::size_t setup_size = (std::size_t{sectors == 0 ? 4 : sectors} + 1) * 512;
  image.payload_offset = setup_size + field<std::uint32_t>(file, payload_offset_at);
  image.payload_size = field<std::uint32_t>(file, payload_length_at);
  if (image.payload_size == 0 || image.payload_offset + image.payload_size > file_size)
    return Err("the kernel image is cut short: it has {} bytes, its payload ends at {}", file_size,
               image.payload_offset + image.payload_size);
  if (image.init_size == 0 || image.command_line_size == 0)
    return Err("the kernel image's header is damaged");
  image.version = version_string(file, setup_size);
  image.release = image.version.substr(0, image.version.find(' '));
  return image;
}

Result<BootImage> read_boot_image(const std::string& path) {
  TRY_ASSIGN(const auto file, os::open_file(path, O_RDONLY));
  struct stat status {};
  if (::fstat(file.get(), &status) < 0) return ErrnoErr("{}", path);
  if (!S_ISREG(status.st_mode)) return Err("{} is no file", path);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::vector<std::byte> head(static_cast<std::size_t>(std::min<std::uint64_t>(size, head_size)));
  TRY_IN(path, os::pread_all(file, head, 0));
  auto image = parse_boot_image(head, size);
  if (!image) return tl::unexpected(std::move(image).error().in(path));
  return image;
}

}  // namespace upkeep::kexec
