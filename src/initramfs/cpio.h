#pragma once
// Writes a cpio archive in the "newc" format (magic 070701), the one that the kernel unpacks as initramfs
// (Documentation/driver-api/early-userspace/buffer-format.rst): uncompressed, since unpacking a compressed
// one would cost time in the window; streamed, nothing is kept in memory; the same calls always give the same
// bytes (no times, owner root, numbered inodes).

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::initramfs {

// Paths are relative to the archive's root, without "." and ".." and without an empty part; a leading '/' is
// dropped. Directories come before what lies in them: the kernel does not make missing ones, and drops the
// file silently, so a path whose directory has not been added is an error here, as is a path added twice.
class CpioWriter {
 public:
  explicit CpioWriter(os::Fd out) : out_(out) {}

  Result<void> add_directory(std::string_view path, mode_t permissions = 0755);
  // At most 4 GiB less one byte: the format's size field has 32 bits.
  Result<void> add_file(std::string_view path, std::string_view content, mode_t permissions = 0644);
  // TYPE is S_IFCHR or S_IFBLK.
  Result<void> add_device(std::string_view path, mode_t type, unsigned major, unsigned minor,
                          mode_t permissions = 0600);
  // The trailer. Nothing may be added afterwards.
  Result<void> finish();

  std::uint64_t size() const { return size_; }  // bytes written so far
  const std::set<std::string, std::less<>>& paths() const { return paths_; }

 private:
  struct Device {
    unsigned major = 0, minor = 0;
  };
  Result<void> add(std::string_view path, mode_t mode, std::string_view content, Device device);
  Result<void> write_entry(std::string_view name, mode_t mode, std::string_view content, Device device,
                           std::uint32_t inode);
  Result<void> write_padded(std::string_view bytes);

  os::Fd out_;
  std::uint64_t size_ = 0;
  std::uint32_t inode_ = 0;
  bool finished_ = false;
  std::set<std::string, std::less<>> paths_;
  std::set<std::string, std::less<>> directories_;
};

}  // namespace upkeep::initramfs
