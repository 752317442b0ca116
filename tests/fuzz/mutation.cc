#include <limits>
#include <nlohmann/json.hpp>

#include "target.h"

namespace upkeep::fuzz {
namespace {

using nlohmann::json;

std::size_t below(std::size_t limit, std::mt19937_64& random) {
  return random() % std::max<std::size_t>(limit, 1);
}

// All values of a document.
void collect(json& value, std::vector<json*>& into) {
  into.push_back(&value);
  if (value.is_structured()) {
    for (auto& child : value) collect(child, into);
  }
}

json interesting_number(std::mt19937_64& random) {
  constexpr std::uint64_t kEdges[] = {0,
                                      1,
                                      2,
                                      63,
                                      64,
                                      65,
                                      127,
                                      128,
                                      255,
                                      4095,
                                      4096,
                                      4097,
                                      65535,
                                      65536,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x100000000,
                                      0x7ffffffff000,
                                      0x800000000000,
                                      0x7fffffffffffffff,
                                      0x8000000000000000,
                                      0xfffffffffffff000,
                                      0xffffffffffffffff};
  switch (below(5, random)) {
    case 0:
      return -static_cast<std::int64_t>(kEdges[below(std::size(kEdges), random)] >> 1U);
    case 1:
      return random();
    case 2:
      return random() << 12U;
    default:
      return kEdges[below(std::size(kEdges), random)];
  }
}

json interesting_text(std::mt19937_64& random) {
  static const std::vector<std::string> kTexts = {"",          "00",        "0",
                                                  "~8~",       "~65536~",   "~65537~",
                                                  "~-1~",      "~8",        "~99999999999999999999~",
                                                  "\\x00",     "\\x",       "\\",
                                                  "anonymous", "file",      "shared_memory",
                                                  "vdso",      "vsyscall",  "path",
                                                  "pipe",      "eventfd",   "epoll",
                                                  "timerfd",   "signalfd",  "socket",
                                                  "[stack]",   "/dev/null", "\xc3\xa4",
                                                  "mw",        "lo",        "gd"};
  auto text = kTexts[below(kTexts.size(), random)];
  if (below(8, random) == 0) text.append(below(70'000, random), 'a');
  return text;
}

json interesting_value(std::mt19937_64& random) {
  switch (below(8, random)) {
    case 0:
      return nullptr;
    case 1:
      return below(2, random) == 0;
    case 2:
      return json::array();
    case 3:
      return json::object();
    case 4:
      return 1.5;
    case 5:
      return interesting_text(random);
    default:
      return interesting_number(random);
  }
}

void change_list(json& list, std::mt19937_64& random) {
  if (list.empty()) return;
  const auto at = below(list.size(), random);
  auto copy = list[at];
  switch (below(4, random)) {
    case 0:
      list.erase(at);
      break;
    case 1:
      list.push_back(std::move(copy));
      break;
    case 2:
      std::swap(list[at], list[below(list.size(), random)]);
      break;
    default:
      for (std::size_t copies = below(64, random); copies > 0; --copies) list.push_back(copy);
  }
}

// Mostly a change that stays within the type: what is of the wrong type is refused at once.
void change(json& value, const json& other, std::mt19937_64& random) {
  if (below(16, random) == 0) {
    value = below(2, random) == 0 ? json(other) : interesting_value(random);
  } else if (value.is_number()) {
    value = below(4, random) == 0 ? json(value.get<std::uint64_t>() + random() % 3 - 1)
                                  : interesting_number(random);
  } else if (value.is_boolean()) {
    value = !value.get<bool>();
  } else if (value.is_string()) {
    value = interesting_text(random);
  } else if (value.is_array()) {
    change_list(value, random);
  } else if (value.is_object() && !value.empty()) {
    auto member = value.begin();
    std::advance(member, static_cast<std::ptrdiff_t>(below(value.size(), random)));
    value.erase(member);
  }
}

}  // namespace

void mutate(json& content, std::mt19937_64& random) {
  for (std::size_t changes = 1 + below(3, random); changes > 0; --changes) {
    std::vector<json*> values;
    collect(content, values);
    const json other = *values[below(values.size(), random)];
    change(*values[below(values.size(), random)], other.is_structured() && other.size() > 8 ? json(0) : other,
           random);
  }
}

void mutate(std::string& text, std::mt19937_64& random) {
  for (std::size_t changes = 1 + below(4, random); changes > 0 && !text.empty(); --changes) {
    const auto at = below(text.size(), random);
    switch (below(5, random)) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text.resize(at);
        break;
      case 2:
        text.erase(at, 1 + below(64, random));
        break;
      case 3:
        text.insert(at, text, below(text.size(), random), below(256, random));
        break;
      default:
        text.insert(at, 1, "[]{}\",:0-9e\\"[below(12, random)]);
    }
  }
}

}  // namespace upkeep::fuzz
