#pragma once
// What upkeep-init must know before it can reach anything else: written into the initramfs during prepare, as
// /etc/upkeep-init.json. Everything that is only known once the tasks stand still is in the manifest instead.

#include <string>
#include <vector>

#include "machine/root.h"

namespace upkeep::jump {

inline constexpr const char* kInitConfigPath = "/etc/upkeep-init.json";
// On the new kernel's command line: where the store with the manifest and the images begins in physical
// memory. Without it upkeep-init starts the machine as any initramfs would.
inline constexpr const char* kStoreParameter = "upkeep.store=";

struct InitConfig {
  std::string id, state_dir;
  machine::RootFileSystem root;
  int highest_pid = 0;              // of the carried tasks: upkeep-init and its children stay above it
  std::string init = "/sbin/init";  // what PID 1 becomes
};

nlohmann::json to_json(const InitConfig& config);
Result<InitConfig> init_config_from_json(const nlohmann::json& json);

}  // namespace upkeep::jump
