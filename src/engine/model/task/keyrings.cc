#include "engine/model/task/keyrings.h"

namespace upkeep::engine {

std::map<std::uint32_t, std::uint32_t> forget_serials(std::vector<Keyring>& keyrings) {
  std::vector<Keyring> left;
  std::map<std::uint32_t, std::uint32_t> places;
  for (std::uint32_t i = 0; i < keyrings.size(); ++i) {
    auto& keyring = keyrings[i];
    if (keyring.name == "_ses" && keyring.keys.empty()) continue;
    places[i] = static_cast<std::uint32_t>(left.size());
    keyring.serial = 0;
    left.push_back(std::move(keyring));
  }
  keyrings = std::move(left);
  return places;
}

}  // namespace upkeep::engine
