#pragma once
// What /proc says about a task that os/procfs.h does not parse: text in, numbers out.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "engine/model/files/epoll.h"
#include "engine/model/files/file_locks.h"
#include "engine/model/files/timerfd.h"
#include "engine/model/task/task.h"

namespace upkeep::engine {

// Fields of /proc/PID/stat by their numbers in proc_pid_stat(5), from 4 (ppid) on; negative ones as two's
// complement.
class StatFields {
 public:
  static Result<StatFields> parse(std::string_view text);
  std::uint64_t operator[](int number) const { return values_[static_cast<std::size_t>(number - 4)]; }
  char state() const { return state_; }
  const std::string& comm() const { return comm_; }

 private:
  char state_ = '?';
  std::string comm_;
  std::vector<std::uint64_t> values_;
};

// /proc/PID/smaps, proc_pid_smaps(5). Kinds are told from names; a file's device is major and minor as
// makedev(3) puts them together. A line that is none of the format is an error.
Result<std::vector<Mapping>> parse_smaps(std::string_view text);
// What d_path() of the kernel puts behind the name of a file that has none any more.
inline constexpr std::string_view kDeleted = " (deleted)";
// Which kind of KeptFile a name of /proc/PID/maps, fd or exe stands for.
KeptKind kept_kind(std::string_view name);
// The same without flags, from /proc/PID/maps.
Result<std::vector<Mapping>> parse_maps(std::string_view text);

// /proc/PID/limits, in the order of the RLIMIT_ numbers. prlimit(2) would need CAP_SYS_RESOURCE for other
// users' tasks.
Result<std::array<Limit, 16>> parse_limits(std::string_view text);

// /proc/PID/timers, without the time left.
Result<std::vector<PosixTimer>> parse_timers(std::string_view text);

// The value after "key:" in fdinfo or status, as it stands there; the first such line.
std::optional<std::string_view> value_of(std::string_view text, std::string_view key);
// The name of a thread in its status file, where newlines and backslashes are escaped.
std::string name_in_status(std::string_view status);
std::optional<std::uint64_t> number_of(std::string_view text, std::string_view key, int base = 10);
// The same for many keys of one text, which take least time when they are asked for in its order.
class KeyedText {
 public:
  explicit KeyedText(std::string_view text) : text_(text), rest_(text) {}
  std::optional<std::string_view> value(std::string_view key);
  std::optional<std::uint64_t> number(std::string_view key, int base = 10);

 private:
  std::string_view text_, rest_;
};

// The "tfd:" lines of an epoll descriptor's fdinfo; `file` is not filled in.
Result<std::vector<EpollWatch>> parse_epoll(std::string_view fdinfo);
// The "inotify" lines; devices as the kernel numbers them (20 bits for the minor), handles as
// open_by_handle_at(2) takes them.
struct InotifyMark {
  std::int32_t wd = 0;
  std::uint32_t mask = 0, device = 0;
  std::uint64_t inode = 0;
  std::int32_t handle_type = 0;
  Bytes handle;
  bool operator==(const InotifyMark&) const = default;
};
Result<std::vector<InotifyMark>> parse_inotify(std::string_view fdinfo);
// The "lock:" lines: what is held through this descriptor.
Result<std::vector<FileLock>> parse_locks(std::string_view fdinfo);
Result<TimerFile> parse_timerfd(std::string_view fdinfo);

}  // namespace upkeep::engine
