#include "engine/model/namespaces/network.h"

#include <nlohmann/json.hpp>

namespace upkeep::engine {

void forget_unknown_sysctls(std::string& network, const std::string& other) {
  auto here = nlohmann::json::parse(network, nullptr, false);
  const auto there = nlohmann::json::parse(other, nullptr, false);
  if (!here.is_object() || !there.is_object() || !here.contains("sysctls") || !there.contains("sysctls"))
    return;
  auto& sysctls = here["sysctls"];
  for (auto one = sysctls.begin(); one != sysctls.end();)
    one = there["sysctls"].contains(one.key()) ? std::next(one) : sysctls.erase(one);
  network = here.dump();
}

}  // namespace upkeep::engine
