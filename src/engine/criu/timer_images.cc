#include "engine/criu/timer_images.h"

#include <fcntl.h>

#include "engine/criu/wire.h"
#include "os/file.h"

namespace upkeep::engine::criu {
namespace {

// Field numbers of criu 4.1's images/fdinfo.proto and images/timerfd.proto.
constexpr std::uint32_t kTimerOfFile = 12;
namespace timer {
constexpr std::uint32_t settime_flags = 6, vsec = 7, vnsec = 8, isec = 9, insec = 10;
}
constexpr std::uint64_t kAbsolute = 1;  // TFD_TIMER_ABSTIME
constexpr std::size_t kMagic = 8;

Result<WireWriter> corrected_timer(std::string_view entry) {
  bool remaining = false, periodic = false;
  WireReader first(entry);
  while (auto field = first.next()) {
    remaining |= (field->number == timer::vsec || field->number == timer::vnsec) && field->value != 0;
    periodic |= (field->number == timer::isec || field->number == timer::insec) && field->value != 0;
  }
  if (first.broken()) return Err("a timer in criu's images cannot be read");
  WireWriter out;
  WireReader second(entry);
  while (auto field = second.next()) {
    if (field->number == timer::settime_flags) {
      out.varint(field->number, field->value & ~kAbsolute);
    } else if (field->number == timer::vnsec && periodic && !remaining) {
      out.varint(field->number, 1);  // expires at once, as it has; criu then sets how often it had
    } else {
      out.raw(field->whole);
    }
  }
  return out;
}

Result<std::string> corrected_file(std::string_view entry) {
  WireWriter out;
  WireReader reader(entry);
  while (auto field = reader.next()) {
    if (field->number == kTimerOfFile && field->type == WireField::Type::bytes) {
      TRY_ASSIGN(auto inner, corrected_timer(field->bytes));
      out.message(field->number, inner);
    } else {
      out.raw(field->whole);
    }
  }
  if (reader.broken()) return Err("a file in criu's images cannot be read");
  return out.text();
}

std::uint32_t read_length(std::string_view text) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::uint32_t{static_cast<std::uint8_t>(text[i])} << (8 * i);
  return value;
}

void append_length(std::string& text, std::size_t value) {
  for (unsigned shift = 0; shift < 32; shift += 8)
    text.push_back(static_cast<char>((value >> shift) & 0xffU));
}

}  // namespace

// Two magic numbers, then messages, each behind its length.
Result<std::string> corrected_timers(std::string_view image) {
  if (image.size() < kMagic) return Err("criu's list of files is too short");
  std::string out(image.substr(0, kMagic));
  for (auto rest = image.substr(kMagic); !rest.empty();) {
    if (rest.size() < 4 || read_length(rest) > rest.size() - 4) return Err("criu's list of files is cut");
    TRY_ASSIGN(auto entry, corrected_file(rest.substr(4, read_length(rest))));
    rest.remove_prefix(4 + read_length(rest));
    append_length(out, entry.size());
    out += entry;
  }
  return out;
}

Result<void> correct_timers(const std::string& folder) {
  const std::string path = folder + "/files.img";
  TRY_ASSIGN(auto before, os::read_file(path));
  TRY_ASSIGN(auto after, corrected_timers(before));
  if (after == before) return {};
  TRY_ASSIGN(auto file, os::open_file(path, O_WRONLY | O_TRUNC));
  return os::write_all(file, after);
}

}  // namespace upkeep::engine::criu
