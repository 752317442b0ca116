#include "engine/inspect/calls/proc_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "os/proc_maps.h"

namespace upkeep::engine {
namespace {

std::optional<std::string_view> next_line(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  const auto end = text.find('\n');
  const auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

// By hand: find_first_of() asks memchr(3) about every character, and there are thousands of lines.
std::string_view next_word(std::string_view& line) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  std::size_t begin = 0;
  while (begin < line.size() && is_space(line[begin])) ++begin;
  auto end = begin;
  while (end < line.size() && !is_space(line[end])) ++end;
  const auto word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

template <typename T>
bool parse(std::string_view text, T& value, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

std::pair<std::string_view, std::string_view> halves(std::string_view text, char separator) {
  const auto at = text.find(separator);
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

MappingKind kind_of(const Mapping& mapping) {
  const std::string_view name = mapping.name;
  if (name == "[vdso]" || name == "[vvar]" || name == "[vvar_vclock]") return MappingKind::vdso;
  if (name == "[vsyscall]") return MappingKind::vsyscall;
  // Private memory of a huge page pool is of a file too, which nobody else has.
  if (name.starts_with("/anon_hugepage"))
    return mapping.shared ? MappingKind::shared_memory : MappingKind::anonymous;
  if (name == "anon_inode:[io_uring]") return MappingKind::io_uring;
  if (name.empty() || name == "[heap]" || name == "[stack]" || name.starts_with("[anon:"))
    return mapping.inode == 0 && !mapping.shared ? MappingKind::anonymous : MappingKind::other;
  if (mapping.shared && (name == "/dev/zero (deleted)" || name.starts_with("[anon_shmem:")))
    return MappingKind::shared_memory;
  if (name.ends_with(kDeleted)) return mapping_kind(kept_kind(name));
  return name.starts_with('/') && mapping.inode != 0 ? MappingKind::file : MappingKind::other;
}

std::optional<Mapping> parse_head(std::string_view line) {
  auto its = os::parse_maps_line(line);
  if (!its) return std::nullopt;
  Mapping mapping;
  mapping.start = its->start, mapping.end = its->end;
  mapping.read = its->read, mapping.write = its->write, mapping.execute = its->execute;
  mapping.shared = its->shared;
  mapping.offset = its->offset, mapping.device = its->device, mapping.inode = its->inode;
  mapping.name = std::move(its->name);
  mapping.kind = kind_of(mapping);
  return mapping;
}

// A flag's two letters as a number, for there are a dozen flags in each of thousands of mappings.
constexpr unsigned code(std::string_view flag) {
  return flag.size() == 2 ? static_cast<unsigned>(flag[0]) << 8U | static_cast<unsigned>(flag[1]) : 0;
}

// Protection and sharing are said elsewhere; "sd" is whether soft-dirty tracking has seen a write. That a
// shared mapping may be made writable says how its file was opened.
bool worth_keeping(std::string_view flag, const Mapping& mapping) {
  switch (code(flag)) {
    case code("mw"):
      return mapping.shared && (mapping.kind == MappingKind::file || mapping.of_kept_file()) &&
             mapping.kind != MappingKind::shared_memory;
    case code("rd"):
    case code("wr"):
    case code("ex"):
    case code("sh"):
    case code("mr"):
    case code("me"):
    case code("ms"):
    case code("sd"):
    case code("ac"):
      return false;
    default:
      return !flag.empty();
  }
}

// What is wanted of the some twenty lines about one mapping; empty: it is not told.
struct SmapsDetails {
  std::string_view page_size, key, flags;
};

// Off TEXT, of which they are the beginning.
SmapsDetails take_details(std::string_view& text) {
  SmapsDetails details;
  while (!text.empty() && text.front() >= 'A' && text.front() <= 'Z') {
    const char first = text.front();
    auto words = *next_line(text);
    if (first != 'V' && first != 'K' && first != 'P') continue;  // most of them
    const auto name = next_word(words);
    if (name == "VmFlags:") details.flags = words;
    if (name == "KernelPageSize:") details.page_size = next_word(words);
    if (name == "ProtectionKey:") details.key = next_word(words);
  }
  return details;
}

}  // namespace

KeptKind kept_kind(std::string_view name) {
  if (!name.starts_with('/') || !name.ends_with(kDeleted)) return KeptKind::none;
  if (name.starts_with("/memfd:")) return KeptKind::memfd;
  if (name.starts_with("/SYSV")) return KeptKind::segment;
  const bool of_others = name.starts_with("/anon_hugepage") || name.starts_with("/secretmem") ||
                         name.starts_with("/[") || name.starts_with("/dev/zero (");
  return of_others ? KeptKind::none : KeptKind::unlinked;
}

Result<StatFields> StatFields::parse(std::string_view text) {
  const auto open = text.find('('), close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return Err("not a stat line");
  StatFields fields;
  fields.comm_ = std::string(text.substr(open + 1, close - open - 1));
  auto rest = text.substr(close + 1);
  while (!rest.empty() && (rest.back() == '\n' || rest.back() == ' ')) rest.remove_suffix(1);
  const auto state = next_word(rest);
  if (state.empty()) return Err("stat line without a state");
  fields.state_ = state[0];
  while (!rest.empty()) {
    const auto word = next_word(rest);
    std::int64_t negative = 0;
    std::uint64_t value = 0;
    if (!engine::parse(word, value)) {
      if (!engine::parse(word, negative)) return Err("a stat field is not a number: '{}'", word);
      value = static_cast<std::uint64_t>(negative);
    }
    fields.values_.push_back(value);
  }
  if (fields.values_.size() < 49) return Err("stat line too short");
  return fields;
}

Result<std::vector<Mapping>> parse_smaps(std::string_view text) {
  std::vector<Mapping> mappings;
  while (auto line = next_line(text)) {
    auto mapping = parse_head(*line);
    if (!mapping) return Err("not a line of smaps: '{}'", *line);
    const auto details = take_details(text);
    if (!details.key.empty() && !parse(details.key, mapping->protection_key))
      return Err("not a protection key: '{}'", details.key);
    std::uint64_t page_kilobytes = 0;
    if (!details.page_size.empty() && !parse(details.page_size, page_kilobytes))
      return Err("not a page size: '{}'", details.page_size);
    for (auto flags = details.flags; !flags.empty();) {
      const auto flag = next_word(flags);
      if (flag == "ht") mapping->huge_page = page_kilobytes * 1024;
      if (!worth_keeping(flag, *mapping)) continue;
      // VM_LOCKONFAULT has no letters of its own in all kernels.
      const bool on_fault = flag == "??" && mapping->has_flag("lo");
      mapping->flags.emplace_back(on_fault ? "lf" : flag);
    }
    mappings.push_back(std::move(*mapping));
  }
  return mappings;
}

Result<std::vector<Mapping>> parse_maps(std::string_view text) {
  std::vector<Mapping> mappings;
  while (auto line = next_line(text)) {
    auto mapping = parse_head(*line);
    if (!mapping) return Err("not a line of maps: '{}'", *line);
    mappings.push_back(std::move(*mapping));
  }
  return mappings;
}

// "Max open files            1024                 524288               files     "
Result<std::array<Limit, 16>> parse_limits(std::string_view text) {
  constexpr std::size_t kNameWidth = 26;
  auto parse_one = [](std::string_view word, std::uint64_t& value) {
    if (word == "unlimited") value = ~0ULL;
    return word == "unlimited" || parse(word, value);
  };
  std::array<Limit, 16> limits;
  std::size_t count = 0;
  while (auto line = next_line(text)) {
    if (!line->starts_with("Max ")) continue;
    auto words = line->substr(std::min(kNameWidth, line->size()));
    const auto soft = next_word(words), hard = next_word(words);
    if (count == limits.size() || !parse_one(soft, limits[count].soft) ||
        !parse_one(hard, limits[count].hard))
      return Err("not a line of limits: '{}'", *line);
    ++count;
  }
  if (count != limits.size()) return Err("{} limits instead of {}", count, limits.size());
  return limits;
}

// ID: 0
// signal: 10/0000000000000000
// notify: signal/pid.2634
// ClockID: 0
Result<std::vector<PosixTimer>> parse_timers(std::string_view text) {
  std::vector<PosixTimer> timers;
  while (auto line = next_line(text)) {
    const auto [key, rest] = halves(*line, ':');
    auto value = rest;
    value = next_word(value);
    if (key == "ID") timers.emplace_back();
    if (timers.empty()) return Err("timers begin with '{}'", *line);
    auto& timer = timers.back();
    bool good = true;
    if (key == "ID") {
      good = parse(value, timer.id);
    } else if (key == "signal") {
      const auto [signal, sigval] = halves(value, '/');
      good = parse(signal, timer.signal) &&
             parse(sigval.starts_with("0x") ? sigval.substr(2) : sigval, timer.sigval, 16);
    } else if (key == "notify") {
      const auto [how, whom] = halves(value, '/');
      const auto [scope, id] = halves(whom, '.');
      timer.notify = how == "signal" ? 0 : how == "none" ? 1 : how == "thread" ? 2 : -1;
      if (scope == "tid") timer.notify |= 4;  // SIGEV_THREAD_ID
      good = timer.notify >= 0 && parse(id, timer.thread);
    } else if (key == "ClockID") {
      good = parse(value, timer.clock);
    } else {
      good = false;
    }
    if (!good) return Err("not a line of timers: '{}'", *line);
  }
  return timers;
}

std::optional<std::string_view> value_of(std::string_view text, std::string_view key) {
  for (;;) {
    if (text.starts_with(key) && text.substr(key.size()).starts_with(':')) break;
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    text.remove_prefix(end + 1);
  }
  const auto value = text.substr(key.size() + 1, text.find('\n') - key.size() - 1);
  const auto begin = value.find_first_not_of(" \t");
  return value.substr(std::min(begin, value.size()));
}

namespace {

std::optional<std::uint64_t> as_number(std::optional<std::string_view> value, int base) {
  std::uint64_t number = 0;
  if (!value || !parse(next_word(*value), number, base)) return std::nullopt;
  return number;
}

}  // namespace

std::optional<std::uint64_t> number_of(std::string_view text, std::string_view key, int base) {
  return as_number(value_of(text, key), base);
}

std::optional<std::string_view> KeyedText::value(std::string_view key) {
  for (const auto from : {rest_, text_}) {
    const auto value = value_of(from, key);
    if (!value) continue;
    rest_ = from.substr(static_cast<std::size_t>(value->data() + value->size() - from.data()));
    rest_.remove_prefix(std::min<std::size_t>(rest_.size(), 1));  // the newline
    return value;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> KeyedText::number(std::string_view key, int base) {
  return as_number(value(key), base);
}

std::string name_in_status(std::string_view status) {
  constexpr std::string_view kBefore = "Name:\t";
  std::string name;
  if (!status.starts_with(kBefore)) return name;
  status = status.substr(kBefore.size(), status.find('\n') - kBefore.size());
  for (std::size_t i = 0; i < status.size(); ++i) {
    const bool escaped = status[i] == '\\' && i + 1 < status.size();
    if (escaped) ++i;
    name.push_back(escaped && status[i] == 'n' ? '\n' : status[i]);
  }
  return name;
}

// "tfd:       5 events: 19 data: 5  pos:0 ino:61af sdev:8": events and data are hexadecimal.
Result<std::vector<EpollWatch>> parse_epoll(std::string_view fdinfo) {
  std::vector<EpollWatch> watches;
  while (auto line = next_line(fdinfo)) {
    if (!line->starts_with("tfd:")) continue;
    auto words = line->substr(4);
    EpollWatch watch;
    const auto fd = next_word(words), events_key = next_word(words), events = next_word(words),
               data_key = next_word(words), data = next_word(words);
    while (!words.empty()) {
      const auto [key, value] = halves(next_word(words), ':');
      if (key == "ino" && !parse(value, watch.inode, 16)) return Err("not a line of epoll: '{}'", *line);
    }
    if (events_key != "events:" || data_key != "data:" || !parse(fd, watch.fd) ||
        !parse(events, watch.events, 16) || !parse(data, watch.data, 16))
      return Err("not a line of epoll: '{}'", *line);
    watches.push_back(watch);
  }
  return watches;
}

// "inotify wd:1 ino:9e7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8 fhandle-type:1
// f_handle:7e9e...": numbers are hexadecimal.
Result<std::vector<InotifyMark>> parse_inotify(std::string_view fdinfo) {
  std::vector<InotifyMark> marks;
  while (auto line = next_line(fdinfo)) {
    if (!line->starts_with("inotify ")) continue;
    auto words = line->substr(8);
    auto& mark = marks.emplace_back();
    bool good = true, has_wd = false;
    while (!words.empty() && good) {
      const auto [key, value] = halves(next_word(words), ':');
      if (key == "wd") good = has_wd = parse(value, mark.wd, 16);
      if (key == "ino") good = parse(value, mark.inode, 16);
      if (key == "sdev") good = parse(value, mark.device, 16);
      if (key == "mask") good = parse(value, mark.mask, 16);
      if (key == "fhandle-type") good = parse(value, mark.handle_type, 16);
      if (key == "f_handle") {
        auto bytes = from_hex(value);
        good = bytes.has_value();
        if (bytes) mark.handle = std::move(*bytes);
      }
    }
    if (!good || !has_wd) return Err("not a line of inotify: '{}'", *line);
  }
  return marks;
}

// "lock:\t1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF", as in /proc/locks.
Result<std::vector<FileLock>> parse_locks(std::string_view fdinfo) {
  std::vector<FileLock> locks;
  while (auto line = next_line(fdinfo)) {
    if (!line->starts_with("lock:")) continue;
    auto words = line->substr(5);
    next_word(words);  // "1:"
    auto& lock = locks.emplace_back();
    lock.kind = value_named<LockKind>(next_word(words)).value_or(LockKind::other);
    next_word(words);  // "ADVISORY"
    const auto access = next_word(words);
    next_word(words);  // owner
    next_word(words);  // file
    const auto start = next_word(words), last = next_word(words);
    std::uint64_t end = 0;
    lock.exclusive = access == "WRITE";
    if ((access != "WRITE" && access != "READ") || !parse(start, lock.start) ||
        (last != "EOF" && (!parse(last, end) || end < lock.start)))
      return Err("not a line of locks: '{}'", *line);
    lock.length = last == "EOF" ? 0 : end - lock.start + 1;
  }
  return locks;
}

Result<TimerFile> parse_timerfd(std::string_view fdinfo) {
  TimerFile timer;
  auto time = [&](std::string_view key, std::uint64_t& ns) {  // "it_value: (0, 49406829)"
    const auto text = value_of(fdinfo, key);
    if (!text || !text->starts_with('(') || !text->ends_with(')')) return false;
    const auto [seconds, nanoseconds] = halves(text->substr(1, text->size() - 2), ',');
    std::uint64_t s = 0, n = 0;
    auto trimmed = nanoseconds;
    if (!parse(seconds, s) || !parse(next_word(trimmed), n)) return false;
    ns = s * 1'000'000'000 + n;
    return true;
  };
  const auto clock = number_of(fdinfo, "clockid"), ticks = number_of(fdinfo, "ticks"),
             flags = number_of(fdinfo, "settime flags", 8);
  if (!clock || !ticks || !flags || !time("it_value", timer.value) || !time("it_interval", timer.interval))
    return Err("fdinfo of a timer cannot be read");
  timer.clock = static_cast<std::int32_t>(*clock);
  timer.expirations = *ticks;
  timer.settime_flags = static_cast<std::uint32_t>(*flags);
  return timer;
}

}  // namespace upkeep::engine
