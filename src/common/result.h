#pragma once
// How things fail here. Three tiers: Result<T> for what can happen (a file is missing, a call fails), one
// error shown to the user near the top of a command, and abort() for bugs.

#include <cerrno>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

#include <fmt/format.h>

namespace upkeep {

// What went wrong: a message for people, innermost cause last, and the errno behind it (0 where there is
// none).
class Error {
 public:
  explicit Error(std::string message, int code = 0) : message_(std::move(message)), code_(code) {}

  const std::string& message() const { return message_; }
  int code() const { return code_; }

  // The same error seen from one level up: "what: message".
  Error in(std::string_view what) && {
    message_ = fmt::format("{}: {}", what, message_);
    return std::move(*this);
  }

 private:
  std::string message_;
  int code_;
};

template <typename T>
using Result = tl::expected<T, Error>;

// return Err("cannot parse '{}'", text);
template <typename... Args>
tl::unexpected<Error> Err(fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error(fmt::format(format, std::forward<Args>(args)...)));
}

// "what: No such file or directory"; reads errno before anything else can change it.
std::string errno_text(int code);
template <typename... Args>
tl::unexpected<Error> ErrnoErr(fmt::format_string<Args...> format, Args&&... args) {
  int code = errno;
  return tl::unexpected<Error>(
      Error(fmt::format("{}: {}", fmt::format(format, std::forward<Args>(args)...), errno_text(code)), code));
}

}  // namespace upkeep

#define UPKEEP_CONCAT_(a, b) a##b
#define UPKEEP_CONCAT(a, b) UPKEEP_CONCAT_(a, b)

// TRY(call()); returns the error of a Result<void> (or of any Result whose value is not wanted).
#define TRY(...)                                                              \
  do {                                                                        \
    if (auto try_result_ = (__VA_ARGS__); !try_result_)                       \
      return tl::unexpected<::upkeep::Error>(std::move(try_result_).error()); \
  } while (0)

// TRY_ASSIGN(auto fd, open_file(path)); declares or assigns, or returns the error.
#define TRY_ASSIGN(target, ...) TRY_ASSIGN_(UPKEEP_CONCAT(try_result_, __LINE__), target, __VA_ARGS__)
#define TRY_ASSIGN_(result, target, ...)                                            \
  auto result = (__VA_ARGS__);                                                      \
  if (!(result)) return tl::unexpected<::upkeep::Error>(std::move(result).error()); \
  target = std::move(*result)

// The same with one level of context put before the error's message.
#define TRY_IN(what, ...)                                                              \
  do {                                                                                 \
    if (auto try_result_ = (__VA_ARGS__); !try_result_)                                \
      return tl::unexpected<::upkeep::Error>(std::move(try_result_).error().in(what)); \
  } while (0)
