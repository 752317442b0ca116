#include "jump/init_config.h"
#include <nlohmann/json.hpp>

namespace upkeep::jump {

nlohmann::json to_json(const InitConfig& config) {
  return {{"id", config.id},
          {"state_dir", config.state_dir},
          {"root", to_json(config.root)},
          {"highest_pid", config.highest_pid},
          {"init", config.init}};
}

Result<InitConfig> init_config_from_json(const nlohmann::json& json) {
  InitConfig config;
  try {
    json.at("id").get_to(config.id);
    json.at("state_dir").get_to(config.state_dir);
    json.at("highest_pid").get_to(config.highest_pid);
    json.at("init").get_to(config.init);
    TRY_ASSIGN(config.root, machine::root_from_json(json.at("root")));
  } catch (const nlohmann::json::exception& error) {
    return Err("{}: {}", kInitConfigPath, error.what());
  }
  return config;
}

}  // namespace upkeep::jump
