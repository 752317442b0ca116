#include "report/format.h"

#include <fmt/format.h>

#include <cmath>
#include <ctime>

namespace upkeep::report {
namespace {

bool ends_with(std::string_view text, std::string_view end) {
  return text.ends_with(end) && text.size() > end.size();
}

// Length of the UTF-8 sequence that TEXT begins with and its code point; 0 where it begins with none.
std::size_t decode(std::string_view text, char32_t& point) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(0);
  std::size_t length = first < 0x80 ? 1U : first >= 0xf0 ? 4U : first >= 0xe0 ? 3U : 2U;
  if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || length > text.size()) return 0;
  point = length == 1 ? first : first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
    point = (point << 6U) | (byte(i) & 0x3fU);
  }
  bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
  bool surrogate = point >= 0xd800 && point <= 0xdfff;
  return overlong || surrogate || point > 0x10ffff ? 0 : length;
}

// Neither seen nor harmless: C0, C1, and what reverses the direction of writing.
bool disturbs(char32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x200e || point == 0x200f ||
         (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

std::tm utc(std::int64_t realtime_ns) {
  std::time_t seconds = realtime_ns / kSecond;
  std::tm broken = {};
  gmtime_r(&seconds, &broken);
  return broken;
}

}  // namespace

std::string duration_text(std::int64_t ns) {
  if (ns < 0) return "-" + duration_text(ns == INT64_MIN ? INT64_MAX : -ns);
  double value = static_cast<double>(ns);
  if (ns < kMillisecond) return fmt::format("{} µs", ns / 1000);
  if (ns < 10 * kMillisecond) return fmt::format("{:.1f} ms", value / 1e6);
  if (ns < 999 * kMillisecond + kMillisecond / 2) return fmt::format("{:.0f} ms", value / 1e6);
  if (ns < 9'995 * kMillisecond) return fmt::format("{:.2f} s", value / 1e9);
  if (ns < 59'950 * kMillisecond) return fmt::format("{:.1f} s", value / 1e9);
  std::int64_t seconds = ns / kSecond + (ns % kSecond >= kSecond / 2 ? 1 : 0);
  if (seconds < 3600) return fmt::format("{} min {:02} s", seconds / 60, seconds % 60);
  std::int64_t minutes = (seconds + 30) / 60;
  if (minutes < 48 * 60) return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
  return fmt::format("{} days", minutes / (24 * 60));
}

std::string bytes_text(double bytes) {
  if (!(bytes >= 0)) return "unknown";
  if (bytes < 1000) return fmt::format("{:.0f} bytes", bytes);
  const char* units[] = {"kB", "MB", "GB", "TB", "PB"};
  std::size_t unit = 0;
  double value = bytes / 1000;
  for (; value >= 999.5 && unit + 1 < std::size(units); ++unit) value /= 1000;
  return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, units[unit]);
}

std::string time_text(std::int64_t realtime_ns) {
  if (realtime_ns <= 0) return "unknown";
  std::tm time = utc(realtime_ns);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", time.tm_year + 1900, time.tm_mon + 1,
                     time.tm_mday, time.tm_hour, time.tm_min, time.tm_sec);
}

std::string time_iso(std::int64_t realtime_ns) {
  if (realtime_ns <= 0) return "";
  std::tm time = utc(realtime_ns);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", time.tm_year + 1900, time.tm_mon + 1,
                     time.tm_mday, time.tm_hour, time.tm_min, time.tm_sec, realtime_ns / kMillisecond % 1000);
}

std::string fact_text(std::string_view name, const nlohmann::json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_string()) return printable(value.get_ref<const std::string&>());
  if (!value.is_number()) {
    return printable(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  double number = value.get<double>();
  bool as_time = std::abs(number) < 1e18;
  if (as_time && ends_with(name, "_ns")) return duration_text(static_cast<std::int64_t>(number));
  if (as_time && std::abs(number) < 1e9 && ends_with(name, "_s")) {
    return duration_text(static_cast<std::int64_t>(std::llround(number * 1e9)));
  }
  if (as_time && std::abs(number) < 1e12 && ends_with(name, "_ms")) {
    return duration_text(static_cast<std::int64_t>(std::llround(number * 1e6)));
  }
  if ((ends_with(name, "_bytes") || name.starts_with("bytes_")) && number >= 0) return bytes_text(number);
  if (ends_with(name, "_percent")) return fmt::format("{:g} %", number);
  return value.dump();
}

std::string fact_title(std::string_view name) {
  for (std::string_view unit : {"_s", "_ms", "_ns", "_bytes", "_percent"}) {
    if (ends_with(name, unit)) {
      name.remove_suffix(unit.size());
      break;
    }
  }
  std::string title = printable(name);
  for (char& c : title) {
    if (c == '_' || c == '.') c = ' ';
  }
  return title;
}

int decimals_for(std::int64_t total_ns) {
  return total_ns < 100 * kMillisecond ? 4 : total_ns < 10 * kSecond ? 3 : 2;
}

std::vector<std::string> seconds_that_add_up(std::span<const std::int64_t> lengths_ns, int decimals) {
  double unit = std::pow(10.0, 9 - decimals);
  std::vector<std::string> texts;
  std::int64_t end = 0, shown = 0;
  for (std::int64_t length : lengths_ns) {
    // Not the lengths are rounded but where they end; so no error is ever carried along.
    end += length;
    std::int64_t rounded = std::llround(static_cast<double>(end) / unit);
    texts.push_back(fmt::format("{:.{}f}", static_cast<double>(rounded - shown) * unit / 1e9, decimals));
    shown = rounded;
  }
  return texts;
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    char32_t point = 0;
    std::size_t length = decode(text, point);
    if (length == 0 || disturbs(point)) {
      out += '?';
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

std::size_t columns(std::string_view text) {
  std::size_t count = 0;
  for (char c : text) count += (static_cast<unsigned char>(c) & 0xc0U) != 0x80 ? 1 : 0;
  return count;
}

std::string pad(std::string_view text, std::size_t width) {
  std::size_t have = columns(text);
  return std::string(text) + std::string(have < width ? width - have : 0, ' ');
}

std::string pad_left(std::string_view text, std::size_t width) {
  std::size_t have = columns(text);
  return std::string(have < width ? width - have : 0, ' ') + std::string(text);
}

std::string shorten(std::string_view text, std::size_t width) {
  if (columns(text) <= width) return std::string(text);
  std::string out;
  std::size_t taken = 0;
  for (char c : text) {
    bool starts = (static_cast<unsigned char>(c) & 0xc0U) != 0x80;
    if (starts && ++taken >= width) break;
    out += c;
  }
  return width == 0 ? "" : out + "…";
}

}  // namespace upkeep::report
