#include "jump/request.h"

#include <nlohmann/json.hpp>

namespace upkeep::jump {

nlohmann::json to_json(const Request& request) {
  return {{"loads", {{"next", request.loads.next}, {"crash", request.loads.crash}}},
          {"carry", request.carry}};
}

Result<Request> request_from_json(const nlohmann::json& json) {
  try {
    Request request;
    json.at("loads").at("next").get_to(request.loads.next);
    json.at("loads").at("crash").get_to(request.loads.crash);
    json.at("carry").get_to(request.carry);
    if (!request.loads.crash.empty())
      return Err("this version of upkeep loads no crash kernel ({})", request.loads.crash);
    return request;
  } catch (const nlohmann::json::exception& error) {
    return Err("what the upgrade is asked for: {}", error.what());
  }
}

}  // namespace upkeep::jump
