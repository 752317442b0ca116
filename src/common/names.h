#pragma once
// Enumerations that are written by name: one table of names for each, which documents, messages and parsers all
// use.
//
//   enum class LockKind : std::uint8_t { other, flock, posix };
//   inline constexpr std::array<std::string_view, 3> kLockKindNames = {"other", "FLOCK", "POSIX"};
//   constexpr const auto& names_of(LockKind) { return kLockKindNames; }  // found by the type of its argument
//
// Values count from 0, in the order of the names. Where an enumeration is a field of a document (fields.h), its
// first value is what a missing field means, and a name that is not in the table is an error of that document.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

namespace upkeep {

template <typename T>
concept Named = std::is_enum_v<T> && requires(T value) {
  names_of(value);
};

template <Named T>
constexpr std::string_view name_of(T value) {
  return names_of(value)[static_cast<std::size_t>(value)];
}

// None: no value has this name.
template <Named T>
constexpr std::optional<T> value_named(std::string_view name) {
  const auto& names = names_of(T{});
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<T>(i);
  }
  return std::nullopt;
}

}  // namespace upkeep
