#include "os/time_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <vector>

#include "os/child.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/namespace.h"
#include "os/procfs.h"

namespace upkeep::os {
namespace {

std::string offset_text(std::string_view clock, std::int64_t offset) {
  std::int64_t seconds = offset / kSecond, rest = offset % kSecond;
  if (rest < 0) {  // the nanoseconds have to be positive
    rest += kSecond;
    --seconds;
  }
  return fmt::format("{} {} {}\n", clock, seconds, rest);
}

}  // namespace

// "monotonic           0         0\nboottime            0         0\n"
Result<ClockOffsets> parse_clock_offsets(std::string_view text) {
  ClockOffsets offsets;
  auto word = [&text]() -> std::string_view {
    const auto begin = text.find_first_not_of(" \n\t");
    if (begin == std::string_view::npos) return {};
    text.remove_prefix(begin);
    const auto result = text.substr(0, text.find_first_of(" \n\t"));
    text.remove_prefix(result.size());
    return result;
  };
  auto number = [&word](std::int64_t& value) {
    const auto digits = word();
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  for (auto clock = word(); !clock.empty(); clock = word()) {
    std::int64_t seconds = 0, nanoseconds = 0;
    if (!number(seconds) || !number(nanoseconds)) return Err("timens_offsets cannot be read");
    if (clock == "monotonic") offsets.monotonic = seconds * kSecond + nanoseconds;
    if (clock == "boottime") offsets.boottime = seconds * kSecond + nanoseconds;
  }
  return offsets;
}

Result<ClockOffsets> clock_offsets(pid_t pid) {
  auto text =
      read_record(pid == 0 ? "/proc/self/timens_offsets" : fmt::format("/proc/{}/timens_offsets", pid));
  if (!text && text.error().code() == ENOENT) return ClockOffsets{};
  if (!text) return tl::unexpected(std::move(text).error());
  return parse_clock_offsets(*text);
}

// Only a process without threads may enter one.
Result<ClockOffsets> own_clock_offsets(pid_t pid) {
  const auto own = namespace_id(pid, "time"), childrens = namespace_id(pid, "time_for_children");
  if (!own || !childrens || *own == *childrens) return clock_offsets(pid);
  TRY_ASSIGN(const auto time, open_namespace(pid, "time"));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoErr("pipe");
  const UniqueFd from(ends[0]);
  UniqueFd into(ends[1]);
  TRY_ASSIGN(const auto child, fork_child([&]() -> int {
               if (::setns(time.get(), CLONE_NEWTIME) < 0) return 1;
               const auto offsets = clock_offsets(0);
               return offsets && write_all(into, clock_offsets_text(*offsets)) ? 0 : 1;
             }));
  into.reset();
  const auto text = read_all(from);
  TRY_ASSIGN(const auto status, wait_child(child, std::chrono::seconds(10)));
  if (!text || !status.success()) return Err("its time namespace cannot be entered");
  return parse_clock_offsets(*text);
}

std::string clock_offsets_text(const ClockOffsets& offsets) {
  return offset_text("monotonic", offsets.monotonic) + offset_text("boottime", offsets.boottime);
}

}  // namespace upkeep::os
