#include "os/proc_maps.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>

#include "os/file.h"

namespace upkeep::os {
namespace {

// By hand: find_first_of() asks memchr(3) about every character, and there are thousands of lines.
std::string_view maps_word(std::string_view& line) {
  std::size_t begin = 0;
  while (begin < line.size() && line[begin] == ' ') ++begin;
  auto end = begin;
  while (end < line.size() && line[end] != ' ') ++end;
  const auto word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

template <typename T>
bool is_number(std::string_view text, T& value, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

// "ab-cd", both hexadecimal.
template <typename T>
bool are_two(std::string_view text, char separator, T& first, T& second) {
  const auto at = text.find(separator);
  return at != std::string_view::npos && is_number(text.substr(0, at), first, 16) &&
         is_number(text.substr(at + 1), second, 16);
}

// Only a newline is written as an escape here (seq_file's mangle_path with "\n").
std::string without_escapes(std::string_view name) {
  std::string result;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i).starts_with("\\012")) {
      result.push_back('\n');
      i += 3;
    } else {
      result.push_back(name[i]);
    }
  }
  return result;
}

}  // namespace

// "7f00-8000 rw-p 00000000 fe:00 123   /path"
std::optional<MapsLine> parse_maps_line(std::string_view line) {
  MapsLine mapping;
  if (!are_two(maps_word(line), '-', mapping.start, mapping.end)) return std::nullopt;
  const auto permissions = maps_word(line);
  if (permissions.size() != 4) return std::nullopt;
  mapping.read = permissions[0] == 'r';
  mapping.write = permissions[1] == 'w';
  mapping.execute = permissions[2] == 'x';
  mapping.shared = permissions[3] == 's';
  unsigned major = 0, minor = 0;
  if (!is_number(maps_word(line), mapping.offset, 16) || !are_two(maps_word(line), ':', major, minor) ||
      !is_number(maps_word(line), mapping.inode, 10))
    return std::nullopt;
  mapping.device = makedev(major, minor);
  const auto name = line.find_first_not_of(' ');
  if (name != std::string_view::npos) mapping.name = without_escapes(line.substr(name));
  return mapping;
}

Result<std::vector<MapsLine>> parse_maps(std::string_view text) {
  std::vector<MapsLine> mappings;
  while (!text.empty()) {
    const auto length = std::min(text.find('\n'), text.size());
    auto mapping = parse_maps_line(text.substr(0, length));
    if (!mapping) return Err("not a line of maps: '{}'", text.substr(0, length));
    mappings.push_back(std::move(*mapping));
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return mappings;
}

Result<std::vector<MapsLine>> own_maps() {
  TRY_ASSIGN(const auto text, read_file("/proc/self/maps"));
  return parse_maps(text);
}

}  // namespace upkeep::os
