#include "initramfs/cpio.h"

#include <sys/stat.h>

#include <limits>

#include "os/file.h"

namespace upkeep::initramfs {
namespace {

constexpr std::string_view trailer = "TRAILER!!!";

Result<std::string> checked_path(std::string_view path) {
  const std::string_view asked = path;
  if (path.starts_with('/')) path.remove_prefix(1);
  if (path.empty() || path.size() > 4095 || path == trailer || path.find('\0') != std::string_view::npos)
    return Err("'{}' is no path for an initramfs", asked);
  for (std::size_t start = 0; start <= path.size();) {
    auto end = path.find('/', start);
    if (end == std::string_view::npos) end = path.size();
    const auto part = path.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return Err("'{}' is no path for an initramfs", asked);
    start = end + 1;
  }
  return std::string(path);
}

}  // namespace

Result<void> CpioWriter::write_padded(std::string_view bytes) {
  static constexpr std::string_view zeros{"\0\0\0", 3};
  TRY(os::write_all(out_, bytes));
  size_ += bytes.size();
  const auto padding = static_cast<std::size_t>((4 - size_ % 4) % 4);
  if (padding != 0) TRY(os::write_all(out_, zeros.substr(0, padding)));
  size_ += padding;
  return {};
}

Result<void> CpioWriter::write_entry(std::string_view name, mode_t mode, std::string_view content,
                                     Device device, std::uint32_t inode) {
  const unsigned links = S_ISDIR(mode) ? 2 : 1;
  // magic, inode, mode, uid, gid, links, mtime, size, device of the file (2), rdev (2), length of the name,
  // checksum
  std::string header = fmt::format(
      "070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}", inode, mode, 0,
      0, links, 0, content.size(), 0, 0, device.major, device.minor, name.size() + 1, 0);
  header.append(name);
  header.push_back('\0');
  TRY(write_padded(header));
  return write_padded(content);
}

Result<void> CpioWriter::add(std::string_view path, mode_t mode, std::string_view content, Device device) {
  TRY_ASSIGN(std::string name, checked_path(path));
  if (finished_) return Err("'{}' comes after the initramfs's end", name);
  if (content.size() > std::numeric_limits<std::uint32_t>::max())
    return Err("'{}' is too large for an initramfs", name);
  if (const auto slash = name.rfind('/');
      slash != std::string::npos && !directories_.contains(name.substr(0, slash)))
    return Err("'{}' comes before its directory", name);
  if (!paths_.insert(name).second) return Err("'{}' is in the initramfs twice", name);
  if (S_ISDIR(mode)) directories_.insert(name);
  return write_entry(name, mode, content, device, ++inode_);
}

Result<void> CpioWriter::add_directory(std::string_view path, mode_t permissions) {
  return add(path, S_IFDIR | (permissions & 07777), {}, {});
}

Result<void> CpioWriter::add_file(std::string_view path, std::string_view content, mode_t permissions) {
  return add(path, S_IFREG | (permissions & 07777), content, {});
}

Result<void> CpioWriter::add_device(std::string_view path, mode_t type, unsigned major, unsigned minor,
                                    mode_t permissions) {
  if (type != S_IFCHR && type != S_IFBLK) return Err("'{}' is neither a character nor a block device", path);
  return add(path, type | (permissions & 07777), {}, {major, minor});
}

Result<void> CpioWriter::finish() {
  if (finished_) return Err("the initramfs has an end already");
  finished_ = true;
  return write_entry(trailer, 0, {}, {}, 0);
}

}  // namespace upkeep::initramfs
