#pragma once
// Files, whole: read, written, made durable.

#include <sys/stat.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// open(2) with O_CLOEXEC added. The error names the path.
Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode = 0600);
Result<UniqueFd> open_at(Fd directory, const std::string& path, int flags, mode_t mode = 0600);

// "/proc/self/fd/N": the file behind a descriptor of ours, as a path.
std::string own_descriptor(Fd fd);

// The whole file. Works on /proc and /sys, whose sizes are not known beforehand.
Result<std::string> read_file(const std::string& path);
Result<std::string> read_file_at(Fd directory, const std::string& path);
Result<std::string> read_all(Fd fd);
// The same for what the kernel writes in one piece (status, stat and comm of /proc, and others): when one
// read(2) gives less than was asked for, nobody asks whether there is more.
Result<std::string> read_record(const std::string& path);
Result<std::string> read_record_at(Fd directory, const std::string& path);

// One write(2) to a file that must exist: for /proc and /sys, where a value is one write.
Result<void> write_value(const std::string& path, std::string_view value);

// Replaces PATH whole or not at all, durably: temporary file, fsync, rename, fsync of the directory.
Result<void> replace_file(const std::string& path, std::string_view content, mode_t mode = 0600);

// Writes everything, whatever write(2) accepts at a time.
Result<void> write_all(Fd fd, std::span<const std::byte> bytes);
Result<void> write_all(Fd fd, std::string_view bytes);
Result<void> pread_all(Fd fd, std::span<std::byte> bytes, off_t offset);

Result<void> make_directories(const std::string& path, mode_t mode = 0755);
// Removes a tree; what is not there is no error. Does not cross mount points' contents on purpose: unmount
// first.
Result<void> remove_tree(const std::string& path);
bool exists(const std::string& path);
Result<std::string> read_link(const std::string& path);
Result<std::string> read_link_at(Fd directory, const std::string& path);
Result<std::string> real_path(const std::string& path);                    // absolute, without symbolic links
Result<std::vector<std::string>> list_directory(const std::string& path);  // sorted, without . and ..

}  // namespace upkeep::os
