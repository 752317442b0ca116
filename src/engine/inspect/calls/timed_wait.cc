#include "engine/inspect/calls/timed_wait.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "engine/inspect/calls/proc_text.h"
#include "os/file.h"
#include "os/restart_codes.h"

namespace upkeep::engine {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr long kEpollPwait2 = 441;  // SYS_epoll_pwait2, 5.11

std::int64_t monotonic() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

std::optional<std::int64_t> interval_at(const os::TaskMemory& memory, std::uint64_t address) {
  if (address == 0) return std::nullopt;
  const auto time = memory.value<timespec>(address);
  constexpr std::int64_t kLongest = 1LL << 32U;  // seconds
  if (!time || time->tv_sec < 0 || time->tv_sec > kLongest || time->tv_nsec < 0 ||
      time->tv_nsec > 999'999'999)
    return std::nullopt;
  return static_cast<std::int64_t>(time->tv_sec) * 1'000'000'000 + time->tv_nsec;
}

std::optional<std::int64_t> time_of_milliseconds(std::uint64_t argument) {
  const auto time = static_cast<std::int32_t>(argument);
  if (time < 0) return std::nullopt;  // for ever
  return time * kMillisecond;
}

// The whole of the time that was asked for. None: no timeout, or one that is a point in time.
std::optional<std::int64_t> whole_time(const BlockedCall& call, const os::TaskMemory& memory) {
  const auto& arguments = call.arguments;
  switch (call.number) {
    case SYS_poll:
      return time_of_milliseconds(arguments[2]);
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      return time_of_milliseconds(arguments[3]);
    case SYS_rt_sigtimedwait:
      return interval_at(memory, arguments[2]);
    case SYS_semtimedop:
    case kEpollPwait2:
      return interval_at(memory, arguments[3]);
    case SYS_nanosleep:
      return interval_at(memory, arguments[0]);
    case SYS_clock_nanosleep:
      return (arguments[1] & TIMER_ABSTIME) != 0 ? std::nullopt : interval_at(memory, arguments[2]);
    case SYS_futex: {
      const auto operation = static_cast<int>(arguments[1]) & FUTEX_CMD_MASK;
      return operation == FUTEX_WAIT ? interval_at(memory, arguments[3]) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

// "se.exec_start    :     1765577.487666": milliseconds with nanoseconds behind the point. In newer kernels
// the key is padded with blanks.
std::optional<std::int64_t> field(std::string_view sched, std::string_view key, bool with_fraction) {
  const auto at = sched.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  auto line = sched.substr(at, sched.find('\n', at) - at);
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  line.remove_prefix(std::min(line.find_first_not_of(' ', colon + 1), line.size()));
  std::int64_t whole = 0, fraction = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), whole);
  if (error != std::errc()) return std::nullopt;
  if (!with_fraction) return whole;
  if (end == line.data() + line.size() || *end != '.') return std::nullopt;
  if (std::from_chars(end + 1, line.data() + line.size(), fraction).ec != std::errc()) return std::nullopt;
  return whole * kMillisecond + fraction;
}

std::optional<std::int64_t> exec_start(std::string_view sched) { return field(sched, "se.exec_start", true); }

std::uint64_t voluntary_switches(std::string_view sched) {
  return static_cast<std::uint64_t>(field(sched, "nr_voluntary_switches", false).value_or(0));
}

std::string task_file(pid_t pid, pid_t tid, const char* name) {
  return os::read_file(fmt::format("/proc/{}/task/{}/{}", pid, tid, name)).value_or("");
}

bool same_call(const BlockedCall& call, const user_regs_struct& registers) {
  const auto& arguments = call.arguments;
  return registers.rsp == call.stack_pointer && registers.rdi == arguments[0] &&
         registers.rsi == arguments[1] && registers.rdx == arguments[2] && registers.r10 == arguments[3];
}

}  // namespace

std::optional<BlockedCall> parse_blocked_call(std::string_view text) {
  BlockedCall call;
  const char* at = text.data();
  const char* end = text.data() + text.size();
  auto number = std::from_chars(at, end, call.number);
  if (number.ec != std::errc() || call.number < 0) return std::nullopt;
  at = number.ptr;
  auto next = [&](std::uint64_t& value) {
    constexpr std::string_view kPrefix = " 0x";
    if (!std::string_view(at, static_cast<std::size_t>(end - at)).starts_with(kPrefix)) return false;
    const auto [after, error] = std::from_chars(at + kPrefix.size(), end, value, 16);
    at = after;
    return error == std::errc();
  };
  for (auto& argument : call.arguments) {
    if (!next(argument)) return std::nullopt;
  }
  if (!next(call.stack_pointer)) return std::nullopt;
  return call;
}

std::optional<BlockedCall> blocked_call(pid_t pid, pid_t tid) {
  return parse_blocked_call(task_file(pid, tid, "syscall"));
}

std::optional<long> restarted_call(std::string_view sleeps_in, const BlockedCall& call) {
  if (sleeps_in.find("poll") != std::string_view::npos) return SYS_poll;
  if (sleeps_in.find("futex") != std::string_view::npos) return SYS_futex;
  // Nothing else goes on in this way. The function that sleeps in there is not told where it belongs to the
  // scheduler (6.18: "do_syscall_64"); "0" is said of a thread that does not sleep.
  if (sleeps_in.empty() || sleeps_in == "0") return std::nullopt;
  constexpr std::uint64_t kClocks = 16;  // what comes first is a clock, or an address
  return call.arguments[0] < kClocks ? SYS_clock_nanosleep : SYS_nanosleep;
}

WaitReader::WaitReader() {
  if (::syscall(SYS_sched_getaffinity, 0, sizeof allowed_, allowed_.data()) < 0) allowed_ = {};
}

WaitReader::~WaitReader() {
  if (moved_) ::syscall(SYS_sched_setaffinity, 0, sizeof allowed_, allowed_.data());
}

// How far CLOCK_MONOTONIC is ahead of the clock of a processor, which leaves out what interrupts and other
// guests have taken: asked again after a second.
std::optional<std::int64_t> WaitReader::clock_of(int processor) {
  struct Known {
    std::int64_t ahead, asked;
  };
  constexpr std::int64_t kSecond = 1'000'000'000;
  thread_local std::map<int, Known> known;
  const auto found = known.find(processor);
  if (found != known.end() && monotonic() - found->second.asked < kSecond) return found->second.ahead;
  std::array<std::uint64_t, 128> one = {};
  const auto bit = static_cast<std::size_t>(processor);
  if (bit >= one.size() * 64) return std::nullopt;
  one[bit / 64] = 1ULL << (bit % 64);
  // Where we may not run there, any other processor's clock is nearly the same.
  moved_ = ::syscall(SYS_sched_setaffinity, 0, sizeof one, one.data()) == 0 || moved_;
  ::sched_yield();  // brings our own exec_start up to date
  const auto now = monotonic();
  const auto own = exec_start(os::read_file("/proc/thread-self/sched").value_or(""));
  if (!own) return std::nullopt;
  known[processor] = {now - *own, now};
  return now - *own;
}

std::optional<std::int64_t> WaitReader::asleep_for(pid_t pid, pid_t tid, std::string_view sched) {
  constexpr int kProcessor = 39;
  const auto since = exec_start(sched);
  const auto stat = StatFields::parse(task_file(pid, tid, "stat"));
  if (!since || !stat) return std::nullopt;
  const auto ahead = clock_of(static_cast<int>((*stat)[kProcessor]));
  if (!ahead) return std::nullopt;
  return std::max<std::int64_t>(monotonic() - *ahead - *since, 0);
}

std::optional<TimedWait> WaitReader::read(pid_t pid, pid_t tid, const BlockedCall& call,
                                          const os::TaskMemory& memory) {
  TimedWait wait;
  wait.call = call;
  if (call.number == SYS_restart_syscall) {
    const auto number = restarted_call(task_file(pid, tid, "wchan"), call);
    if (!number) return std::nullopt;
    wait.call.number = *number;
  }
  const auto whole = whole_time(wait.call, memory);
  if (!whole) return wait.call.number == call.number ? std::nullopt : std::optional(wait);
  const auto sched = task_file(pid, tid, "sched");
  wait.switches = voluntary_switches(sched);
  if (const auto slept = asleep_for(pid, tid, sched))
    wait.left = static_cast<std::uint64_t>(std::max<std::int64_t>(*whole - *slept, 1));
  return wait;
}

std::uint64_t WaitReader::apply(const TimedWait& wait, pid_t pid, pid_t tid, user_regs_struct& registers) {
  if (!same_call(wait.call, registers)) return 0;
  const auto interrupted = static_cast<long>(registers.rax);
  const auto number = static_cast<long>(registers.orig_rax);
  // It went on with a call that was interrupted before: the kernel does not look at the number again, but
  // whoever makes the call anew has to know it.
  if (number == SYS_restart_syscall && interrupted == os::kRestartBlock)
    registers.orig_rax = static_cast<unsigned long long>(wait.call.number);
  if (static_cast<long>(registers.orig_rax) != wait.call.number || wait.left == 0) return 0;
  // The stop let it go to sleep once more, not in another call of the same kind.
  if (voluntary_switches(task_file(pid, tid, "sched")) != wait.switches + 1) return 0;
  const bool in_milliseconds = number == SYS_epoll_wait || number == SYS_epoll_pwait;
  if (interrupted == os::kRestartNoHand && in_milliseconds)
    registers.r10 = (wait.left + kMillisecond - 1) / kMillisecond;
  const bool in_memory = number == SYS_rt_sigtimedwait || number == SYS_semtimedop || number == kEpollPwait2;
  const bool elsewhere = interrupted == os::kRestartBlock || (interrupted == os::kRestartNoHand && in_memory);
  return elsewhere ? wait.left : 0;
}

}  // namespace upkeep::engine
