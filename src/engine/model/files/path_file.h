#pragma once
// Files that are opened at a path.

#include <cstdint>
#include <string>

namespace upkeep::engine {

// Open at a path: regular files, folders, devices, named pipes. Also what is known of a kept file.
struct PathFile {
  std::string path;
  std::uint64_t device = 0, inode = 0;
  std::uint32_t mode = 0;           // st_mode
  std::uint64_t device_number = 0;  // st_rdev of device files
  std::string trigger;              // of a pressure file: what was written into it
  bool host = false;  // the path leads there in our mount namespace only, not in that of the process
  bool operator==(const PathFile&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("path", self.path);
    visit("device", self.device);
    visit("inode", self.inode);
    visit("mode", self.mode);
    visit("device_number", self.device_number);
    visit("trigger", self.trigger);
    visit("host", self.host);
  }
};

}  // namespace upkeep::engine
