#pragma once
// Private to the room: colours of a terminal (ECMA-48), and pieces of text that progress and summary share.

#include <string>
#include <string_view>

#include "common/event.h"
#include "report/text.h"

namespace upkeep::report {

inline constexpr std::string_view kBold = "1", kDim = "2", kRed = "31", kGreen = "32", kYellow = "33",
                                  kBlue = "34", kCyan = "36";

inline std::string paint(const Style& style, std::string_view color, std::string_view text) {
  if (!style.color) return std::string(text);
  return "\33[" + std::string(color) + "m" + std::string(text) + "\33[0m";
}

// The few characters that the room itself writes, respelled for terminals without Unicode.
std::string ascii_unless(const Style& style, std::string_view text);

std::string begun_line(const Event& event, const Style& style);

}  // namespace upkeep::report
