#include "common/fields.h"

#include <algorithm>

namespace upkeep {
namespace detail {

const rapidjson::Value* Members::find(std::string_view name) {
  const auto is_it = [name](const auto& member) { return text_of(member.name) == name; };
  auto found = std::find_if(next, object.MemberEnd(), is_it);
  if (found == object.MemberEnd()) {
    found = std::find_if(object.MemberBegin(), next, is_it);
    if (found == next) return nullptr;
  }
  next = found + 1;
  return &found->value;
}

void Complaint::fail(std::string_view what) {
  if (error) return;
  std::string place;
  for (const auto& [name, index] : path_) {
    if (name == nullptr)
      place += '[' + std::to_string(index) + ']';
    else
      place += (place.empty() ? "" : ".") + std::string(name);
  }
  error = Error(place.empty() ? std::string(what) : fmt::format("{}: {}", place, what));
}

void Complaint::look_for_unknown(const rapidjson::Value& object, const std::vector<std::string_view>& names) {
  for (auto member = object.MemberBegin(); member != object.MemberEnd(); ++member) {
    const auto key = text_of(member->name);
    const bool known = std::find(names.begin(), names.end(), key) != names.end();
    if (!known) return fail("has a field '" + escape(key) + "' that this version does not know");
  }
  fail("has a field twice");
}

}  // namespace detail

Result<JsonDocument> JsonDocument::parse(std::string text) {
  // Strings may hold any bytes, as unescape() gives them.
  constexpr unsigned kFlags = rapidjson::kParseInsituFlag | rapidjson::kParseIterativeFlag;
  JsonDocument parsed;
  text.append(16, '\0');
  parsed.text_ = std::make_unique<std::string>(std::move(text));
  parsed.document_ = std::make_unique<rapidjson::Document>();
  parsed.document_->ParseInsitu<kFlags>(parsed.text_->data());
  if (parsed.document_->HasParseError()) return Err("not a whole JSON document: it was cut short or altered");
  return parsed;
}

}  // namespace upkeep
