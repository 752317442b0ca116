#pragma once
// System calls for a new task to make, one after the other: plain data, compiled from the model, that can be
// printed and tested without running it. Arguments are numbers or places in the program's own data.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace upkeep::engine {

// A place in a program's data.
struct Place {
  std::uint64_t offset = 0;
};

class Argument {
 public:
  Argument() = default;
  template <typename T>
  requires std::is_integral_v<T> || std::is_enum_v<T> Argument(T value)
      : value_(static_cast<std::uint64_t>(value)) {}               // NOLINT(google-explicit-constructor)
  Argument(Place place) : value_(place.offset), in_data_(true) {}  // NOLINT(google-explicit-constructor)
  std::uint64_t value() const { return value_; }
  bool in_data() const { return in_data_; }

 private:
  std::uint64_t value_ = 0;
  bool in_data_ = false;
};

// Of one call, which takes six at most. Programs are made of so many that none of them should need memory of
// its own.
class Arguments {
 public:
  static constexpr std::size_t kMost = 6;
  Arguments() = default;
  Arguments(std::initializer_list<Argument> list) {
    for (const auto& argument : list) add(argument);
  }
  void add(Argument argument) { values_.at(count_++) = argument; }
  std::span<const Argument> all() const { return {values_.data(), count_}; }
  std::span<Argument> all() { return {values_.data(), count_}; }

 private:
  std::array<Argument, kMost> values_;
  std::size_t count_ = 0;
};

struct Call {
  long number = 0;
  Arguments arguments;
  bool may_fail = false;
};

// What the loop in the task reads (loop.h). Addresses are absolute.
struct PlacedCall {
  std::uint64_t number = 0;
  std::array<std::uint64_t, Arguments::kMost> arguments = {};
  std::uint64_t may_fail = 0;
  std::int64_t result = 0;
};
static_assert(sizeof(PlacedCall) == 72);

class Program {
 public:
  void call(long number, const Arguments& arguments) { calls_.push_back({number, arguments, false}); }
  // Its failure is no failure of the program.
  void try_call(long number, const Arguments& arguments) { calls_.push_back({number, arguments, true}); }

  // Data is aligned to 16 bytes. LENGTH of room: zeros.
  Place bytes(std::span<const std::byte> bytes);
  Place text(std::string_view text);  // with a zero at its end
  Place room(std::size_t length);
  template <typename T>
  Place value(const T& value) {
    return bytes(std::as_bytes(std::span(&value, 1)));
  }
  // The 8 bytes at AT + OFFSET become the address of TARGET.
  void pointer(Place at, std::uint64_t offset, Place target) {
    pointers_.push_back({at.offset + offset, target.offset});
  }

  // OTHER's calls after those that are here.
  void append(const Program& other);

  const std::vector<Call>& calls() const { return calls_; }
  bool empty() const { return calls_.empty(); }
  std::size_t size() const { return calls_.size() * sizeof(PlacedCall) + data_.size(); }
  // Calls and data, in this order, for a place that begins at ADDRESS.
  std::vector<std::byte> placed(std::uint64_t address) const;
  std::string describe(std::size_t index) const;  // "mmap(0x1000, 4096, 3, 50, -1, 0)"
  std::string describe() const;                   // one call a line

 private:
  struct Pointer {
    std::uint64_t at, target;
  };
  std::vector<Call> calls_;
  std::vector<std::byte> data_;
  std::vector<Pointer> pointers_;
};

}  // namespace upkeep::engine
