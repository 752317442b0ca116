#pragma once
// Numbers as people read them.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace upkeep::report {

inline constexpr std::int64_t kMillisecond = 1'000'000, kSecond = 1'000'000'000;  // in nanoseconds

// "850 µs", "213 ms", "6.93 s", "2 min 05 s", "1 h 02 min".
std::string duration_text(std::int64_t ns);
// "512 bytes", "14.2 MB", "1.50 GB": powers of ten, as disks and networks count.
std::string bytes_text(double bytes);
// "2026-11-23 15:32:57 UTC"; "unknown" for 0.
std::string time_text(std::int64_t realtime_ns);
// "2026-11-23T15:32:57.123Z", for JSON.
std::string time_iso(std::int64_t realtime_ns);

// A fact's value, with the unit that the end of its name says: _s, _ms, _ns, _bytes, _percent.
std::string fact_text(std::string_view name, const nlohmann::json& value);
// "image_bytes" -> "image"; "predicted_window_s" -> "predicted window".
std::string fact_title(std::string_view name);

// Lengths in seconds with DECIMALS places, rounded so that what is shown adds up to what is shown as their
// sum.
std::vector<std::string> seconds_that_add_up(std::span<const std::int64_t> lengths_ns, int decimals);
int decimals_for(std::int64_t total_ns);

// One line of printable text: control characters (a task may be called "\33[2J") become '?'.
std::string printable(std::string_view text);
// Columns that TEXT takes, counting code points (no wide characters here).
std::size_t columns(std::string_view text);
std::string pad(std::string_view text, std::size_t width);       // on the right
std::string pad_left(std::string_view text, std::size_t width);  // on the left
std::string shorten(std::string_view text, std::size_t width);   // with "…" at the end where it is too long

}  // namespace upkeep::report
