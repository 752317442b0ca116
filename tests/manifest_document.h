#pragma once
// Manifests that write_manifest() would not write, with the right format and checksum.

#include <nlohmann/json.hpp>
#include <string>

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep {

// Around what stands behind the checksum.
inline std::string sealed(const std::string& inside) {
  return fmt::format(
      "{{\"format\": \"upkeep native snapshot\", \"version\": {}, \"checksum\": {},\n\"mappings\": {}}}\n",
      engine::kFormatVersion, engine::checksum(inside), inside);
}

// Around CONTENT: a snapshot as to_json() gives it, or anything else. What looks like lists of mappings is
// put where documents have it.
inline std::string document_around(nlohmann::json content) {
  using nlohmann::json;
  auto mappings = json::array();
  const auto member = [](json& value, const char* name) -> json* {
    return value.is_object() && value.contains(name) ? &value[name] : nullptr;
  };
  auto none = json::array();
  auto* processes = member(content, "processes");
  if (processes == nullptr || !processes->is_array()) processes = &none;
  for (auto& process : *processes) {
    auto* memory = member(process, "memory");
    auto* list = memory != nullptr ? member(*memory, "mappings") : nullptr;
    if (list == nullptr || !list->is_array()) continue;
    for (auto& mapping : *list) {
      auto place = mappings.size();
      mappings.push_back(std::exchange(mapping, place));
    }
  }
  const auto text = [](const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
  };
  return sealed(fmt::format("{},\n\"snapshot\": {}", text(mappings), text(content)));
}

}  // namespace upkeep
