#pragma once
// How plain data becomes JSON and comes back. A struct lists its fields once:
//
//   struct EventCounter {
//     std::uint64_t count = 0;
//     static void fields(auto& self, auto& visit) { visit("count", self.count); }
//   };
//
// Decoding takes exactly what encoding writes: a field that is of another type, out of its type's range, or
// not known is an error that says where ("processes[2].threads[0].tid: not a number"); a missing number,
// flag, text or list is 0, false or empty, for documents may leave those out; anything else that is missing
// is an error. Optional fields are left out where they have no value. Only the first error is kept.

#include <array>
#include <concepts>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/result.h"
#include "engine/native/model/text.h"

namespace upkeep::native {

// Whether numbers that are 0, flags that are false and empty texts and lists are written: of what a large
// tree consists of they are more than half.
enum class Zeros { written, left_out };

template <Zeros kZeros = Zeros::written, typename T>
nlohmann::json encode(const T& value);

namespace detail {

struct AnyVisitor {
  template <typename T>
  void operator()(const char*, T&) {}
};
template <typename T>
concept Listed = requires(T& value, AnyVisitor& visit) {
  T::fields(value, visit);
};
template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};
template <typename T>
struct IsArray : std::false_type {};
template <typename T, std::size_t N>
struct IsArray<std::array<T, N>> : std::true_type {};

template <typename T>
concept MayBeZero =
    std::integral<T> || std::same_as<T, std::string> || std::same_as<T, Bytes> || IsVector<T>::value;

template <MayBeZero T>
bool is_zero(const T& value) {
  if constexpr (std::integral<T>)
    return value == T{};
  else if constexpr (std::same_as<T, Bytes>)
    return value.data.empty();
  else
    return value.empty();
}

template <Zeros kZeros>
struct Encoder {
  nlohmann::json object = nlohmann::json::object();
  template <typename T>
  void operator()(const char* name, const T& value) {
    if constexpr (IsOptional<T>::value) {
      if (value) object[name] = encode<kZeros>(*value);
    } else if constexpr (kZeros == Zeros::left_out && MayBeZero<T>) {
      if (!is_zero(value)) object[name] = encode<kZeros>(value);
    } else {
      object[name] = encode<kZeros>(value);
    }
  }
};

// Reads into values, remembers the first thing that was wrong and the place of it.
class Decoder {
 public:
  template <typename T>
  void read(const nlohmann::json& json, T& value);
  std::optional<Error> error;

 private:
  struct Fields {
    Decoder& decoder;
    const nlohmann::json& object;
    std::size_t known = 0;
    std::vector<const char*> names;
    template <typename T>
    void operator()(const char* name, T& value);
  };
  void fail(std::string what) {
    if (!error) error = Error(path_.empty() ? std::move(what) : path_ + ": " + what);
  }
  template <typename T>
  void read_number(const nlohmann::json& json, T& value);
  template <typename T>
  void read_element(const nlohmann::json& json, std::size_t index, T& value) {
    const auto length = path_.size();
    path_ += '[' + std::to_string(index) + ']';
    read(json, value);
    path_.resize(length);
  }
  std::string path_;
};

template <typename T>
void Decoder::Fields::operator()(const char* name, T& value) {
  if (decoder.error) return;
  names.push_back(name);
  const auto found = object.find(name);
  const auto length = decoder.path_.size();
  decoder.path_ += length == 0 ? name : std::string(".") + name;
  if constexpr (IsOptional<T>::value) {
    value.reset();
    if (found != object.end()) decoder.read(*found, value.emplace());
  } else if (found == object.end()) {
    if constexpr (MayBeZero<T>)
      value = T{};
    else
      decoder.fail("missing");
  } else {
    decoder.read(*found, value);
  }
  if (found != object.end()) ++known;
  decoder.path_.resize(length);
}

template <typename T>
void Decoder::read_number(const nlohmann::json& json, T& value) {
  if (json.is_number_unsigned()) {
    const auto number = json.get<std::uint64_t>();
    if (!std::in_range<T>(number)) return fail("out of range");
    value = static_cast<T>(number);
  } else if (json.is_number_integer()) {
    const auto number = json.get<std::int64_t>();
    if (!std::in_range<T>(number)) return fail("out of range");
    value = static_cast<T>(number);
  } else {
    fail("not a whole number");
  }
}

template <typename T>
void Decoder::read(const nlohmann::json& json, T& value) {
  if (error) return;
  if constexpr (std::same_as<T, bool>) {
    if (!json.is_boolean()) return fail("neither true nor false");
    value = json.get<bool>();
  } else if constexpr (std::integral<T>) {
    read_number(json, value);
  } else if constexpr (std::same_as<T, std::string> || std::same_as<T, Bytes>) {
    if (!json.is_string()) return fail("not a string");
    const auto& text = json.get_ref<const std::string&>();
    auto read = [&] {
      if constexpr (std::same_as<T, Bytes>)
        return from_hex(text);
      else
        return unescape(text);
    }();
    if (!read) return fail(read.error().message());
    value = std::move(*read);
  } else if constexpr (IsVector<T>::value) {
    if (!json.is_array()) return fail("not a list");
    value.clear();
    for (std::size_t i = 0; i < json.size() && !error; ++i) read_element(json[i], i, value.emplace_back());
  } else if constexpr (IsArray<T>::value) {
    if (!json.is_array() || json.size() != value.size())
      return fail("not a list of " + std::to_string(value.size()));
    for (std::size_t i = 0; i < value.size() && !error; ++i) read_element(json[i], i, value[i]);
  } else {
    static_assert(Listed<T>, "a type that does not list its fields");
    if (!json.is_object()) return fail("not an object");
    Fields fields{*this, json, 0, {}};
    T::fields(value, fields);
    if (error || fields.known == json.size()) return;
    for (const auto& [key, unused] : json.items()) {
      bool known = false;
      for (const char* name : fields.names) known = known || key == name;
      if (!known) return fail("has a field '" + escape(key) + "' that this version does not know");
    }
  }
}

}  // namespace detail

template <Zeros kZeros, typename T>
nlohmann::json encode(const T& value) {
  if constexpr (std::integral<T>) {
    return value;
  } else if constexpr (std::same_as<T, std::string>) {
    return escape(value);
  } else if constexpr (std::same_as<T, Bytes>) {
    return to_hex(value);
  } else if constexpr (detail::IsVector<T>::value || detail::IsArray<T>::value) {
    auto list = nlohmann::json::array();
    for (const auto& element : value) list.push_back(encode<kZeros>(element));
    return list;
  } else {
    detail::Encoder<kZeros> encoder;
    T::fields(value, encoder);
    return std::move(encoder.object);
  }
}

template <typename T>
Result<T> decode(const nlohmann::json& json) {
  T value;
  detail::Decoder decoder;
  decoder.read(json, value);
  if (decoder.error) return tl::unexpected(std::move(*decoder.error));
  return value;
}

}  // namespace upkeep::native
