#include "common/event.h"

namespace upkeep {

nlohmann::json to_json(const Event& event) {
  nlohmann::json json = {{"kind", event.kind}, {"time_ns", event.time_ns}, {"kernel", event.kernel}};
  if (!event.stage.empty()) json["stage"] = event.stage;
  if (!event.message.empty()) json["message"] = event.message;
  if (!event.direction.empty()) json["direction"] = event.direction;
  if (!event.data.empty()) json["data"] = event.data;
  return json;
}

Result<Event> event_from_json(const nlohmann::json& json) {
  if (!json.is_object()) return Err("an event is not a JSON object");
  auto text = [&](const char* key) -> Result<std::string> {
    auto it = json.find(key);
    if (it == json.end()) return std::string();
    if (!it->is_string()) return Err("event field '{}' is not a string", key);
    return it->get<std::string>();
  };
  Event event;
  TRY_ASSIGN(event.kind, text("kind"));
  if (event.kind.empty()) return Err("an event has no kind");
  TRY_ASSIGN(event.stage, text("stage"));
  TRY_ASSIGN(event.message, text("message"));
  TRY_ASSIGN(event.kernel, text("kernel"));
  TRY_ASSIGN(event.direction, text("direction"));
  if (auto it = json.find("time_ns"); it != json.end()) {
    if (!it->is_number_integer()) return Err("event field 'time_ns' is not an integer");
    event.time_ns = it->get<std::int64_t>();
  }
  if (auto it = json.find("data"); it != json.end()) {
    if (!it->is_object()) return Err("event field 'data' is not an object");
    event.data = *it;
  }
  return event;
}

}  // namespace upkeep
