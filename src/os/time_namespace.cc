#include "os/time_namespace.h"

#include <charconv>
#include <vector>

#include "os/file.h"

namespace upkeep::os {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

std::string offset_text(std::string_view clock, std::int64_t offset) {
  std::int64_t seconds = offset / kSecond, rest = offset % kSecond;
  if (rest < 0) {  // the nanoseconds have to be positive
    rest += kSecond;
    --seconds;
  }
  return fmt::format("{} {} {}\n", clock, seconds, rest);
}

}  // namespace

// "monotonic           0         0\nboottime            0         0\n"
Result<ClockOffsets> parse_clock_offsets(std::string_view text) {
  ClockOffsets offsets;
  auto word = [&text]() -> std::string_view {
    const auto begin = text.find_first_not_of(" \n\t");
    if (begin == std::string_view::npos) return {};
    text.remove_prefix(begin);
    const auto result = text.substr(0, text.find_first_of(" \n\t"));
    text.remove_prefix(result.size());
    return result;
  };
  auto number = [&word](std::int64_t& value) {
    const auto digits = word();
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  for (auto clock = word(); !clock.empty(); clock = word()) {
    std::int64_t seconds = 0, nanoseconds = 0;
    if (!number(seconds) || !number(nanoseconds)) return Err("timens_offsets cannot be read");
    if (clock == "monotonic") offsets.monotonic = seconds * kSecond + nanoseconds;
    if (clock == "boottime") offsets.boottime = seconds * kSecond + nanoseconds;
  }
  return offsets;
}

Result<ClockOffsets> clock_offsets(pid_t pid) {
  auto text = read_file(pid == 0 ? "/proc/self/timens_offsets" : fmt::format("/proc/{}/timens_offsets", pid));
  if (!text && text.error().code() == ENOENT) return ClockOffsets{};
  if (!text) return tl::unexpected(std::move(text).error());
  return parse_clock_offsets(*text);
}

std::string clock_offsets_text(const ClockOffsets& offsets) {
  return offset_text("monotonic", offsets.monotonic) + offset_text("boottime", offsets.boottime);
}

}  // namespace upkeep::os
