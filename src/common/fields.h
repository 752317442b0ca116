#pragma once
// Large documents of plain data: how structs that list their fields (listed.h) become JSON text and come back. For
// small ones, and for parts of other documents, there is json_fields.h.
//
// Decoding takes exactly what encoding writes: a field that is of another type, out of its type's range,
// there twice or not known is an error that says where ("processes[2].threads[0].tid: not a whole number"); a
// missing number, flag, text or list is 0, false or empty, and a missing name the first one of its kind
// (common/names.h), for documents may leave those out; anything else
// that is missing is an error. Optional fields are left out where they have no value. Only the first error is
// kept.
//
// Of some values a large document has many that are equal: it can hold each of them once, beside itself
// (HeldOnce), and their places in there instead of them.
//
// Text is written as the fields are visited and read from RapidJSON's flat tree: a large tree of processes
// has some hundred thousand values, and a map of strings for each object took longer than anything else about
// it.

#define RAPIDJSON_SSE2  // texts are scanned by 16 bytes: JsonDocument::parse() adds as many behind theirs
#include <rapidjson/document.h>
#include <rapidjson/writer.h>

#include <array>
#include <concepts>
#include <cstdint>
#include <future>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/listed.h"
#include "common/names.h"
#include "common/result.h"
#include "common/text.h"

namespace upkeep {

// Whether numbers that are 0, flags that are false and empty texts and lists are written: of what a large
// tree consists of they are more than half.
enum class Zeros { written, left_out };

// Values without those that are equal to an earlier one. T::hash() is the same for equal ones.
template <typename T>
class HeldOnce {
 public:
  const std::vector<T>& values() const { return values_; }
  // Where in values() the one is that is equal to VALUE, which is added where there is none.
  std::size_t place_of(const T& value) {
    const auto [first, last] = places_.equal_range(value.hash());
    for (auto place = first; place != last; ++place) {
      if (values_[place->second] == value) return place->second;
    }
    places_.emplace(value.hash(), values_.size());
    values_.push_back(value);
    return values_.size() - 1;
  }

 private:
  std::vector<T> values_;
  std::unordered_multimap<std::uint64_t, std::size_t> places_;
};

namespace detail {

template <typename T>
concept MayBeZero =
    std::integral<T> || Named<T> || std::same_as<T, std::string> || std::same_as<T, Bytes> || is_vector<T>;

template <MayBeZero T>
bool is_zero(const T& value) {
  if constexpr (std::integral<T> || Named<T>)
    return value == T{};
  else if constexpr (std::same_as<T, Bytes>)
    return value.data.empty();
  else
    return value.empty();
}

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

template <typename T, typename Element>
concept ListOf = is_vector<T> && std::same_as<typename T::value_type, Element>;

// ONCE: lists of these hold places in HeldOnce; void: all values are written where they are.
template <Zeros kZeros, typename Once = void>
class Encoder {
 public:
  explicit Encoder(Writer& writer, HeldOnce<Once>* once = nullptr) : writer_(writer), once_(once) {}
  // A field.
  template <typename T>
  void operator()(const char* name, const T& value) {
    if constexpr (is_optional<T>) {
      if (value) field(name, *value);
    } else if constexpr (kZeros == Zeros::left_out && MayBeZero<T>) {
      if (!is_zero(value)) field(name, value);
    } else {
      field(name, value);
    }
  }
  template <typename T>
  void write(const T& value);

 private:
  template <typename T>
  void field(const char* name, const T& value) {
    writer_.Key(name);
    write(value);
  }
  void write_text(const std::string& text) {
    writer_.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  }
  Writer& writer_;
  HeldOnce<Once>* once_;
};

template <Zeros kZeros, typename Once>
template <typename T>
void Encoder<kZeros, Once>::write(const T& value) {
  if constexpr (std::same_as<T, bool>) {
    writer_.Bool(value);
  } else if constexpr (std::unsigned_integral<T>) {
    writer_.Uint64(value);
  } else if constexpr (std::integral<T>) {
    writer_.Int64(value);
  } else if constexpr (Named<T>) {
    const auto name = name_of(value);
    writer_.String(name.data(), static_cast<rapidjson::SizeType>(name.size()));
  } else if constexpr (std::same_as<T, std::string>) {
    write_text(escape(value));
  } else if constexpr (std::same_as<T, Bytes>) {
    write_text(to_hex(value));
  } else if constexpr (ListOf<T, Once>) {
    writer_.StartArray();
    for (const auto& element : value) writer_.Uint64(once_->place_of(element));
    writer_.EndArray();
  } else if constexpr (is_vector<T> || is_array<T>) {
    writer_.StartArray();
    for (const auto& element : value) write(element);
    writer_.EndArray();
  } else {
    static_assert(Listed<T>, "a type that does not list its fields");
    writer_.StartObject();
    T::fields(value, *this);
    writer_.EndObject();
  }
}

inline std::string_view text_of(const rapidjson::Value& json) {
  return {json.GetString(), json.GetStringLength()};
}

// The first thing that was wrong with a document, and the place of it.
class Complaint {
 public:
  std::optional<Error> error;

 protected:
  struct Step {
    const char* name;  // nullptr: an element of a list
    std::size_t index;
  };
  void fail(std::string_view what);
  void look_for_unknown(const rapidjson::Value& object, const std::vector<std::string_view>& names);
  std::vector<Step> path_;
};

// Members are looked for behind the one that was found last: documents have them in the order of the fields.
struct Members {
  explicit Members(const rapidjson::Value& o) : object(o), next(o.MemberBegin()) {}
  const rapidjson::Value& object;
  rapidjson::Value::ConstMemberIterator next;
  const rapidjson::Value* find(std::string_view name);
};

// Reads into values. ONCE: lists of these hold places in HeldOnce::values().
template <typename Once = void>
class Decoder : public Complaint {
 public:
  explicit Decoder(const std::vector<Once>* once = nullptr) : once_(once) {}
  template <typename T>
  void read(const rapidjson::Value& json, T& value);

 private:
  struct Fields {
    Decoder& decoder;
    Members members;
    std::size_t known = 0;
    template <typename T>
    void operator()(const char* name, T& value);
  };
  struct Names {
    std::vector<std::string_view> all;
    template <typename T>
    void operator()(const char* name, const T&) {
      all.emplace_back(name);
    }
  };
  template <typename T>
  void read_number(const rapidjson::Value& json, T& value);
  template <typename T>
  void read_place(const rapidjson::Value& json, T& value);
  template <typename T>
  void read_element(const rapidjson::Value& json, std::size_t index, T& value) {
    path_.push_back({nullptr, index});
    if constexpr (std::same_as<T, Once>)
      read_place(json, value);
    else
      read(json, value);
    path_.pop_back();
  }
  // Appends elements from FIRST on, before LAST: one by one, for the first one may be wrong, and what follows
  // it may be long.
  template <typename T>
  void read_some(const rapidjson::Value& json, rapidjson::SizeType first, rapidjson::SizeType last,
                 std::vector<T>& values) {
    for (auto i = first; i < last && !error; ++i) read_element(json[i], i, values.emplace_back());
  }
  template <typename T>
  void read_both_halves(const rapidjson::Value& json, std::vector<T>& values);
  const std::vector<Once>* once_;
  bool alone_ = true;  // no other thread reads the same document
};

// The second half of a long list by a thread of its own, where there may be one. What is wrong in the first
// half comes first.
template <typename Once>
template <typename T>
void Decoder<Once>::read_both_halves(const rapidjson::Value& json, std::vector<T>& values) {
  const auto half = json.Size() / 2;
  Decoder other(once_);
  other.path_ = path_;
  other.alone_ = false;
  std::vector<T> others;
  auto read_others = [&] { other.read_some(json, half, json.Size(), others); };
  std::future<void> second;
  try {
    second = std::async(std::launch::async, read_others);
  } catch (const std::system_error&) {
    read_others();
  }
  alone_ = false;
  read_some(json, 0, half, values);
  alone_ = true;
  if (second.valid()) second.get();
  if (!error) error = std::move(other.error);
  values.insert(values.end(), std::make_move_iterator(others.begin()), std::make_move_iterator(others.end()));
}

template <typename Once>
template <typename T>
void Decoder<Once>::Fields::operator()(const char* name, T& value) {
  if (decoder.error) return;
  const auto* found = members.find(name);
  if (found != nullptr) ++known;
  decoder.path_.push_back({name, 0});
  if constexpr (is_optional<T>) {
    value.reset();
    if (found != nullptr) decoder.read(*found, value.emplace());
  } else if (found != nullptr) {
    decoder.read(*found, value);
  } else if constexpr (MayBeZero<T>) {
    value = T{};
  } else {
    decoder.fail("missing");
  }
  decoder.path_.pop_back();
}

template <typename Once>
template <typename T>
void Decoder<Once>::read_number(const rapidjson::Value& json, T& value) {
  if (json.IsUint64()) {
    if (!std::in_range<T>(json.GetUint64())) return fail("out of range");
    value = static_cast<T>(json.GetUint64());
  } else if (json.IsInt64()) {
    if (!std::in_range<T>(json.GetInt64())) return fail("out of range");
    value = static_cast<T>(json.GetInt64());
  } else {
    fail("not a whole number");
  }
}

template <typename Once>
template <typename T>
void Decoder<Once>::read_place(const rapidjson::Value& json, T& value) {
  if (error) return;
  std::size_t place = 0;
  read_number(json, place);
  if (error) return;
  if (place >= once_->size()) return fail("the document holds no such value");
  value = (*once_)[place];
}

template <typename Once>
template <typename T>
void Decoder<Once>::read(const rapidjson::Value& json, T& value) {
  if (error) return;
  if constexpr (std::same_as<T, bool>) {
    if (!json.IsBool()) return fail("neither true nor false");
    value = json.GetBool();
  } else if constexpr (std::integral<T>) {
    read_number(json, value);
  } else if constexpr (Named<T>) {
    if (!json.IsString()) return fail("not a string");
    const auto known = value_named<T>(text_of(json));
    if (!known) return fail("'" + escape(text_of(json)) + "' is none of the names that this version knows");
    value = *known;
  } else if constexpr (std::same_as<T, std::string> || std::same_as<T, Bytes>) {
    if (!json.IsString()) return fail("not a string");
    auto read = [&] {
      if constexpr (std::same_as<T, Bytes>)
        return from_hex(text_of(json));
      else
        return unescape(text_of(json));
    }();
    if (!read) return fail(read.error().message());
    value = std::move(*read);
  } else if constexpr (is_vector<T>) {
    if (!json.IsArray()) return fail("not a list");
    constexpr rapidjson::SizeType kMany = 400;  // fewer are read sooner than a thread is there
    value.clear();
    if constexpr (Listed<typename T::value_type>) {
      if (alone_ && json.Size() >= kMany) return read_both_halves(json, value);
    }
    read_some(json, 0, json.Size(), value);
  } else if constexpr (is_array<T>) {
    if (!json.IsArray() || json.Size() != value.size())
      return fail("not a list of " + std::to_string(value.size()));
    for (rapidjson::SizeType i = 0; i < value.size() && !error; ++i) read_element(json[i], i, value[i]);
  } else {
    static_assert(Listed<T>, "a type that does not list its fields");
    if (!json.IsObject()) return fail("not an object");
    Fields fields{*this, Members(json)};
    T::fields(value, fields);
    if (error || fields.known == json.MemberCount()) return;
    Names names;
    T::fields(value, names);
    look_for_unknown(json, names.all);
  }
}

}  // namespace detail

template <Zeros kZeros = Zeros::written, typename T, typename Once = void>
std::string encode(const T& value, HeldOnce<Once>* once = nullptr) {
  rapidjson::StringBuffer text;
  detail::Writer writer(text);
  detail::Encoder<kZeros, Once>(writer, once).write(value);
  return {text.GetString(), text.GetSize()};
}

// A whole document, in memory of its own. Nesting costs no stack: neither reading it nor its end recurses.
class JsonDocument {
 public:
  static Result<JsonDocument> parse(std::string text);
  const rapidjson::Value& root() const { return *document_; }

 private:
  JsonDocument() = default;
  std::unique_ptr<std::string> text_;  // strings lie in it
  std::unique_ptr<rapidjson::Document> document_;
};

template <typename T, typename Once = void>
Result<T> decode(const rapidjson::Value& json, const std::vector<Once>* once = nullptr) {
  T value;
  detail::Decoder<Once> decoder(once);
  decoder.read(json, value);
  if (decoder.error) return tl::unexpected(std::move(*decoder.error));
  return value;
}
template <typename T>
Result<T> decode(std::string text) {
  TRY_ASSIGN(const auto document, JsonDocument::parse(std::move(text)));
  return decode<T>(document.root());
}

}  // namespace upkeep
