#pragma once
// /proc/PID/maps, proc_pid_maps(5): what a process has mapped, one line for each mapping. /proc/PID/smaps has
// the same lines, each with details behind it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace upkeep::os {

struct MapsLine {
  std::uint64_t start = 0, end = 0;  // addresses of the process
  bool read = false, write = false, execute = false, shared = false;
  std::uint64_t offset = 0;  // bytes, in what is mapped
  std::uint64_t device = 0;  // major and minor as makedev(3) puts them together
  std::uint64_t inode = 0;
  std::string name;  // "/lib/x.so", "[heap]", "/memfd:x (deleted)"; escapes undone; may be empty
  std::uint64_t length() const { return end - start; }
};

// LINE: without its newline. None where it is not of this format.
std::optional<MapsLine> parse_maps_line(std::string_view line);
// Ascending, as the kernel lists them. A line that is not of this format is an error.
Result<std::vector<MapsLine>> parse_maps(std::string_view text);
Result<std::vector<MapsLine>> own_maps();  // of this process

}  // namespace upkeep::os
