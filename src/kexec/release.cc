#include "kexec/release.h"

#include <algorithm>

namespace upkeep::kexec {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Order of what is no digit: '~' before the end, the end before letters, letters before the rest.
int weight(std::string_view text, std::size_t at) {
  if (at >= text.size() || is_digit(text[at])) return 0;
  const char c = text[at];
  if (c == '~') return -1;
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return c;
  return static_cast<unsigned char>(c) + 256;
}

std::string_view take_number(std::string_view text, std::size_t& at) {
  while (at < text.size() && text[at] == '0') ++at;
  const auto start = at;
  while (at < text.size() && is_digit(text[at])) ++at;
  return text.substr(start, at - start);
}

std::string normalised(std::string_view release) {
  std::string text(release);
  if (const auto candidate = text.find("-rc"); candidate != std::string::npos) text[candidate] = '~';
  return text;
}

}  // namespace

int compare_releases(std::string_view left_text, std::string_view right_text) {
  const auto left = normalised(left_text), right = normalised(right_text);
  std::size_t l = 0, r = 0;
  while (l < left.size() || r < right.size()) {
    while ((l < left.size() && !is_digit(left[l])) || (r < right.size() && !is_digit(right[r]))) {
      if (const int difference = weight(left, l) - weight(right, r); difference != 0) return difference;
      ++l, ++r;  // equal and not both at a number or the end: the same character in both
    }
    const auto left_number = take_number(left, l), right_number = take_number(right, r);
    if (left_number.size() != right_number.size()) return left_number.size() < right_number.size() ? -1 : 1;
    if (const int difference = left_number.compare(right_number); difference != 0) return difference;
  }
  return 0;
}

bool stands_for(std::string_view name, std::string_view release) {
  if (name.empty() || !release.starts_with(name)) return false;
  if (release.size() == name.size()) return true;
  const char next = release[name.size()];
  return next == '.' || next == '-' || next == '+' || next == '~';
}

std::optional<std::string> newest_match(std::string_view name, const std::vector<std::string>& releases) {
  std::optional<std::string> best;
  for (const auto& release : releases) {
    if (release == name) return release;
    if (stands_for(name, release) && (!best || compare_releases(*best, release) < 0)) best = release;
  }
  return best;
}

}  // namespace upkeep::kexec
