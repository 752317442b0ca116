#include "engine/verify/compare.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace upkeep::engine {
namespace {

using nlohmann::json;

// So that what differs can be said.
void unfold(json& text) {
  auto document = json::parse(text.is_string() ? text.get<std::string>() : "", nullptr, false);
  if (!document.is_discarded()) text = std::move(document);
}

std::string shortened(const std::string& text) {
  return text.size() > 120 ? text.substr(0, 120) + "..." : text;
}

}  // namespace

Result<void> compare(const Snapshot& wanted, Snapshot found) {
  const auto wanted_here = comparable(wanted, found), found_here = comparable(std::move(found), wanted);
  if (wanted_here == found_here) return {};
  auto a = to_json(wanted_here), b = to_json(found_here);
  for (auto* document : {&a, &b}) {
    for (auto& namespaces : (*document)["namespaces"]) unfold(namespaces["network"]);
  }
  const auto differences = json::diff(a, b);
  if (differences.empty()) return Err("what was made differs from what was saved");
  auto wanted_at = [&a](const std::string& path) {
    const json::json_pointer pointer(path);
    return a.contains(pointer) ? shortened(a.at(pointer).dump()) : std::string("nothing");
  };
  constexpr std::size_t kShown = 4;
  std::string shown;
  for (std::size_t i = 0; i < std::min(kShown, differences.size()); ++i) {
    const auto path = differences[i].at("path").get<std::string>();
    // At the end of a list there is none of this path yet.
    const auto is =
        differences[i].contains("value") ? shortened(differences[i].at("value").dump()) : "nothing";
    shown += fmt::format("{}{}: {} instead of {}", i == 0 ? "" : "; ", path, is, wanted_at(path));
  }
  return Err("what was made differs from what was saved at {} ({} differences)", shown, differences.size());
}

}  // namespace upkeep::engine
