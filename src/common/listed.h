#pragma once
// What it is to list fields: a struct names each of its fields once, and documents, validation and comparison go
// through them.
//
//   struct EventCounter {
//     std::uint64_t count = 0;
//     static void fields(auto& self, auto& visit) { visit("count", self.count); }
//   };

#include <array>
#include <concepts>
#include <optional>
#include <type_traits>
#include <vector>

namespace upkeep {

namespace detail {

struct AnyVisitor {
  template <typename T>
  void operator()(const char*, T&) {}
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

}  // namespace detail

template <typename T>
concept Listed = requires(T& value, detail::AnyVisitor& visit) {
  std::remove_const_t<T>::fields(value, visit);
};
template <typename T>
inline constexpr bool is_optional = detail::IsOptional<std::remove_const_t<T>>::value;
template <typename T>
inline constexpr bool is_vector = detail::IsVector<std::remove_const_t<T>>::value;
template <typename T>
inline constexpr bool is_array = detail::IsArray<std::remove_const_t<T>>::value;

}  // namespace upkeep
