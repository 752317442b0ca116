#include "common/text.h"

#include <algorithm>
#include <charconv>

namespace upkeep {
namespace {

constexpr std::ptrdiff_t kShortestRun = 8, kLongestRun = 65536;
constexpr std::string_view kDigits = "0123456789abcdef";

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int byte_at(std::string_view text, std::size_t at) {
  if (at + 1 >= text.size()) return -1;
  int high = digit(text[at]), low = digit(text[at + 1]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool append_bytes(std::string_view digits, std::vector<std::uint8_t>& bytes) {
  const auto before = bytes.size();
  bytes.resize(before + digits.size() / 2);
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    const int value = byte_at(digits, i);
    if (value < 0) return false;
    bytes[before + i / 2] = static_cast<std::uint8_t>(value);
  }
  return true;
}

void append_hex(std::string& text, std::uint8_t byte) {
  text.push_back(kDigits[byte >> 4U]);
  text.push_back(kDigits[byte & 15U]);
}

}  // namespace

std::string escape(std::string_view bytes) {
  std::string text;
  for (char c : bytes) {
    if (c >= 0x20 && c < 0x7f && c != '\\') {
      text.push_back(c);
    } else {
      text += "\\x";
      append_hex(text, static_cast<std::uint8_t>(c));
    }
  }
  return text;
}

Result<std::string> unescape(std::string_view text) {
  if (text.find('\\') == std::string_view::npos) return std::string(text);
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes.push_back(text[i]);
      continue;
    }
    int value = i + 1 < text.size() && text[i + 1] == 'x' ? byte_at(text, i + 2) : -1;
    if (value < 0) return Err("a backslash that begins no \\xNN");
    bytes.push_back(static_cast<char>(value));
    i += 3;
  }
  return bytes;
}

std::string to_hex(const Bytes& bytes) {
  std::string text;
  text.reserve(bytes.data.size() / 2);
  const auto end = bytes.data.end();
  for (auto at = bytes.data.begin(); at != end;) {
    auto zeros = std::find_if(at, end, [](std::uint8_t byte) { return byte != 0; }) - at;
    if (zeros < kShortestRun) {
      append_hex(text, *at++);
      continue;
    }
    zeros = std::min(zeros, kLongestRun);
    text += '~' + std::to_string(zeros) + '~';
    at += zeros;
  }
  return text;
}

Result<Bytes> from_hex(std::string_view text) {
  Bytes bytes;
  bytes.data.reserve(text.size() / 2);
  while (!text.empty()) {
    const auto digits = std::min(text.find('~'), text.size());
    if (!append_bytes(text.substr(0, digits), bytes.data)) return Err("not a hexadecimal number");
    text.remove_prefix(digits);
    if (text.empty()) break;
    std::ptrdiff_t zeros = 0;
    const auto* last = text.data() + text.size();
    const auto [behind, error] = std::from_chars(text.data() + 1, last, zeros);
    if (error != std::errc() || behind == last || *behind != '~' || zeros < kShortestRun ||
        zeros > kLongestRun)
      return Err("a run of zeros that is none");
    bytes.data.resize(bytes.data.size() + static_cast<std::size_t>(zeros));
    text.remove_prefix(static_cast<std::size_t>(behind + 1 - text.data()));
  }
  return bytes;
}

}  // namespace upkeep
