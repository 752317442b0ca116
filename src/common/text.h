#pragma once
// Bytes as JSON can hold them: names of the kernel's are bytes, JSON's strings are UTF-8.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace upkeep {

// Contents of a fixed layout that only the processor or the kernel reads (XSAVE areas and the like).
struct Bytes {
  std::vector<std::uint8_t> data;
  bool operator==(const Bytes&) const = default;
};

// Printable ASCII as it is but for the backslash, anything else as \xNN.
std::string escape(std::string_view bytes);
Result<std::string> unescape(std::string_view text);

// Two digits a byte; "~N~" stands for N bytes of zero (most of an XSAVE area), 8 to 65536 of them.
std::string to_hex(const Bytes& bytes);
Result<Bytes> from_hex(std::string_view text);

}  // namespace upkeep
