#include "os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

namespace upkeep::os {

std::string own_descriptor(Fd fd) { return fmt::format("/proc/self/fd/{}", fd.get()); }

Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode) {
  return open_at(Fd(AT_FDCWD), path, flags, mode);
}

Result<UniqueFd> open_at(Fd directory, const std::string& path, int flags, mode_t mode) {
  int fd = ::openat(directory.get(), path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return ErrnoErr("open {}", path);
  return UniqueFd(fd);
}

namespace {

// Only files of /proc and the like do not say how long they are.
void reserve_for_all(Fd fd, std::string& content) {
  struct stat status = {};
  if (::fstat(fd.get(), &status) == 0 && status.st_size > 0)
    content.reserve(static_cast<std::size_t>(status.st_size));
}

Result<std::string> read_to_end(Fd fd, bool in_one_piece) {
  std::string content;
  std::array<char, 65536> buffer;
  for (;;) {
    ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoErr("read");
    const auto size = static_cast<std::size_t>(n);
    content.append(buffer.data(), size);
    if (size == 0 || (in_one_piece && size < buffer.size())) return content;
    if (content.size() == buffer.size()) reserve_for_all(fd, content);
  }
}

}  // namespace

Result<std::string> read_all(Fd fd) { return read_to_end(fd, false); }

Result<std::string> read_record_at(Fd directory, const std::string& path) {
  TRY_ASSIGN(auto fd, open_at(directory, path, O_RDONLY));
  auto content = read_to_end(fd, true);
  if (!content) return tl::unexpected(std::move(content).error().in(path));
  return content;
}

Result<std::string> read_record(const std::string& path) { return read_record_at(Fd(AT_FDCWD), path); }

Result<std::string> read_file_at(Fd directory, const std::string& path) {
  TRY_ASSIGN(auto fd, open_at(directory, path, O_RDONLY));
  auto content = read_all(fd);
  if (!content) return tl::unexpected(std::move(content).error().in(path));
  return content;
}

Result<std::string> read_file(const std::string& path) { return read_file_at(Fd(AT_FDCWD), path); }

Result<void> write_value(const std::string& path, std::string_view value) {
  TRY_ASSIGN(auto fd, open_file(path, O_WRONLY));
  if (::write(fd.get(), value.data(), value.size()) < 0) return ErrnoErr("write '{}' to {}", value, path);
  return {};
}

Result<void> write_all(Fd fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoErr("write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> write_all(Fd fd, std::string_view bytes) {
  return write_all(fd, std::as_bytes(std::span(bytes)));
}

Result<void> pread_all(Fd fd, std::span<std::byte> bytes, off_t offset) {
  while (!bytes.empty()) {
    ssize_t n = ::pread(fd.get(), bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoErr("pread");
    if (n == 0) return Err("unexpected end of file");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += n;
  }
  return {};
}

Result<void> replace_file(const std::string& path, std::string_view content, mode_t mode) {
  const std::string temporary = path + ".new";
  {
    TRY_ASSIGN(auto fd, open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode));
    TRY_IN(temporary, write_all(fd, content));
    if (::fsync(fd.get()) < 0) return ErrnoErr("fsync {}", temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) < 0) return ErrnoErr("rename {} to {}", temporary, path);
  const std::string parent = std::filesystem::path(path).parent_path();
  TRY_ASSIGN(auto directory, open_file(parent.empty() ? "." : parent, O_RDONLY | O_DIRECTORY));
  if (::fsync(directory.get()) < 0) return ErrnoErr("fsync {}", parent);
  return {};
}

Result<void> make_directories(const std::string& path, mode_t mode) {
  std::filesystem::path built;
  for (const auto& part : std::filesystem::path(path)) {
    built /= part;
    if (::mkdir(built.c_str(), mode) < 0 && errno != EEXIST) return ErrnoErr("mkdir {}", built.string());
  }
  return {};
}

Result<void> remove_tree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error && error != std::errc::no_such_file_or_directory) {
    return Err("remove {}: {}", path, error.message());
  }
  return {};
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<std::string> read_link(const std::string& path) { return read_link_at(Fd(AT_FDCWD), path); }

Result<std::string> read_link_at(Fd directory, const std::string& path) {
  std::array<char, 4096> buffer;
  ssize_t n = ::readlinkat(directory.get(), path.c_str(), buffer.data(), buffer.size());
  if (n < 0) return ErrnoErr("readlink {}", path);
  return std::string(buffer.data(), static_cast<std::size_t>(n));
}

Result<std::string> real_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), ::free);
  if (!resolved) return ErrnoErr("{}", path);
  return std::string(resolved.get());
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) return ErrnoErr("open directory {}", path);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace upkeep::os
