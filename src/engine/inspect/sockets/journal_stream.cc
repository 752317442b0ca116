#include "engine/inspect/sockets/journal_stream.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "os/file.h"

namespace upkeep::engine {
namespace {

constexpr std::string_view kStreams = "run/systemd/journal/streams";

// The other way of cescape() of systemd's: the letters of C, else three octal digits.
Result<std::string> unescape_c(std::string_view text) {
  constexpr std::string_view kLetters = "abfnrtv\\\"'", kMeant = "\a\b\f\n\r\t\v\\\"'";
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      plain += text[at];
      continue;
    }
    if (++at == text.size()) return Err("'{}' ends with a backslash", text);
    if (const auto letter = kLetters.find(text[at]); letter != std::string_view::npos) {
      plain += kMeant[letter];
      continue;
    }
    unsigned code = 0;
    const auto digits = text.substr(at, 3);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 8);
    if (error != std::errc() || digits.size() != 3 || end != digits.data() + 3 || code > 0xff)
      return Err("'{}' is escaped in an unknown way", text);
    plain += static_cast<char>(code);
    at += 2;
  }
  return plain;
}

Result<void> take_number(std::string_view text, std::int32_t& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  if (error != std::errc() || end != text.data() + text.size()) return Err("'{}' is not a number", text);
  return {};
}

Result<void> take_switch(std::string_view text, bool& into) {
  if (text != "0" && text != "1") return Err("'{}' is neither 0 nor 1", text);
  into = text == "1";
  return {};
}

Result<void> take_field(std::string_view key, std::string_view value, JournalStream& stream) {
  if (key == "PRIORITY") return take_number(value, stream.priority);
  if (key == "LEVEL_PREFIX") return take_switch(value, stream.level_prefix);
  if (key == "FORWARD_TO_SYSLOG") return take_switch(value, stream.forward_to_syslog);
  if (key == "FORWARD_TO_KMSG") return take_switch(value, stream.forward_to_kmsg);
  if (key == "FORWARD_TO_CONSOLE") return take_switch(value, stream.forward_to_console);
  if (key == "IDENTIFIER" || key == "UNIT") {
    TRY_ASSIGN((key == "UNIT" ? stream.unit : stream.identifier), unescape_c(value));
  }
  return {};
}

}  // namespace

Result<JournalStream> parse_journal_stream(std::string_view text) {
  JournalStream stream;
  bool has_priority = false;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) continue;  // a comment
    TRY_IN(std::string(line.substr(0, equals)),
           take_field(line.substr(0, equals), line.substr(equals + 1), stream));
    has_priority = has_priority || line.starts_with("PRIORITY=");
  }
  if (!has_priority) return Err("it names no priority");
  return stream;
}

Result<std::optional<JournalStream>> read_journal_stream(os::Fd fd, const Socket& socket, os::Fd root) {
  struct stat own = {};
  if (::fstat(fd.get(), &own) < 0) return ErrnoErr("fstat");
  const auto name = fmt::format("{}/{}:{}", kStreams, own.st_dev, socket.peer);
  for (const bool ours : {false, true}) {
    auto text = ours ? os::read_file_at(root, name) : os::read_file("/" + name);
    if (!text && text.error().code() != ENOENT) return tl::unexpected(std::move(text).error());
    if (!text) continue;
    TRY_ASSIGN(auto stream, parse_journal_stream(*text));
    return std::optional(std::move(stream));
  }
  return std::optional<JournalStream>();
}

}  // namespace upkeep::engine
