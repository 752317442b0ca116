#pragma once
// Small documents of plain data, and parts of other documents: structs that list their fields (listed.h) as
// nlohmann::json, both ways.
//
//   nlohmann::json to_json(const Plan& plan) { return json_of(plan); }
//   Result<Plan> plan_from_json(const nlohmann::json& json) { return read_json<Plan>(json, "plan"); }
//
// Fields are numbers, flags, texts, enumerations with names (names.h), lists and arrays of these, and other structs
// that list theirs. A field that is missing, out of its type's range or of another type is an error that says where;
// one that nobody knows is passed over. An optional field without a value is left out.
// What texts hold has to be UTF-8: whoever writes names that the kernel takes as bytes makes them so before.

#include <concepts>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "common/listed.h"
#include "common/names.h"
#include "common/result.h"

namespace upkeep {

template <typename T>
nlohmann::json json_of(const T& value);

namespace detail {

struct JsonWriter {
  nlohmann::json& json;
  template <typename T>
  void operator()(const char* name, const T& value) {
    if constexpr (is_optional<T>) {
      if (value) json[name] = json_of(*value);
    } else {
      json[name] = json_of(value);
    }
  }
};

// The first thing that was wrong, and the place of it.
struct JsonReader {
  std::string error;

  void fail(std::string what) {
    if (error.empty()) error = std::move(what);
  }
  // Puts NAME before an error that READ has left.
  void in(std::string_view name, const auto& read) {
    if (!error.empty()) return;
    read();
    if (!error.empty()) error = fmt::format("{}{}{}", name, error.front() == '[' ? "" : ": ", error);
  }

  template <typename T>
  void read(const nlohmann::json& json, T& value);

  template <typename T>
  void read_field(const nlohmann::json& object, const char* name, T& value) {
    const auto found = object.find(name);
    in(name, [&] {
      if constexpr (is_optional<T>) {
        value.reset();
        if (found != object.end()) read(*found, value.emplace());
      } else if (found == object.end()) {
        fail("missing");
      } else {
        read(*found, value);
      }
    });
  }
};

template <typename T>
void JsonReader::read(const nlohmann::json& json, T& value) {
  if constexpr (std::same_as<T, bool>) {
    if (!json.is_boolean()) return fail("neither true nor false");
    value = json.get<bool>();
  } else if constexpr (std::integral<T>) {
    if (!json.is_number_integer()) return fail("not a whole number");
    const bool fits = json.is_number_unsigned() ? std::in_range<T>(json.get<std::uint64_t>())
                                                : std::in_range<T>(json.get<std::int64_t>());
    if (!fits) return fail("out of range");
    value = json.get<T>();
  } else if constexpr (std::floating_point<T>) {
    if (!json.is_number()) return fail("not a number");
    value = json.get<T>();
  } else if constexpr (Named<T>) {
    const auto known = json.is_string() ? value_named<T>(json.get_ref<const std::string&>()) : std::nullopt;
    if (!known) return fail("none of the names that this version knows");
    value = *known;
  } else if constexpr (std::same_as<T, std::string>) {
    if (!json.is_string()) return fail("not a string");
    value = json.get<std::string>();
  } else if constexpr (is_vector<T> || is_array<T>) {
    if (!json.is_array()) return fail("not a list");
    if constexpr (is_vector<T>)
      value.resize(json.size());
    else if (json.size() != value.size())
      return fail(fmt::format("not a list of {}", value.size()));
    for (std::size_t i = 0; i < value.size(); ++i)
      in(fmt::format("[{}]", i), [&] { read(json[i], value[i]); });
  } else {
    static_assert(Listed<T>, "a type that does not list its fields");
    if (!json.is_object()) return fail("not an object");
    auto visit = [&](const char* name, auto& field) { read_field(json, name, field); };
    T::fields(value, visit);
  }
}

}  // namespace detail

template <typename T>
nlohmann::json json_of(const T& value) {
  if constexpr (Named<T>) {
    return name_of(value);
  } else if constexpr (is_vector<T> || is_array<T>) {
    auto list = nlohmann::json::array();
    for (const auto& element : value) list.push_back(json_of(element));
    return list;
  } else if constexpr (Listed<T>) {
    auto object = nlohmann::json::object();
    detail::JsonWriter writer{object};
    T::fields(value, writer);
    return object;
  } else {
    return value;
  }
}

// WHAT is read, for the error: "plan: carry[0]: not a whole number".
template <typename T>
Result<T> read_json(const nlohmann::json& json, std::string_view what) {
  T value;
  detail::JsonReader reader;
  reader.read(json, value);
  if (!reader.error.empty()) return Err("{}: {}", what, reader.error);
  return value;
}

}  // namespace upkeep
