#pragma once
// The root file system as the new kernel has to find and mount it: by UUID, since device names may change between
// kernels.

#include <nlohmann/json.hpp>
#include <string>

#include "common/result.h"

namespace upkeep::machine {

struct RootFileSystem {
  std::string device;  // "/dev/vda1" here and now; for messages
  unsigned major = 0, minor = 0;
  std::string uuid, fs_type;
  std::string options;  // as mountinfo shows them, mount point's and superblock's
};
nlohmann::json to_json(const RootFileSystem& root);
Result<RootFileSystem> root_from_json(const nlohmann::json& json);

// UUID of the file system on DEVICE, read from the device.
Result<std::string> probe_uuid(const std::string& device);

// Waits (kernel uevents, at most TIMEOUT_S seconds) for the block device that holds the file system.
Result<std::string> find_root_device(const RootFileSystem& root, int timeout_s = 30);

}  // namespace upkeep::machine
