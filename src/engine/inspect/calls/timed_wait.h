#pragma once
// How long a thread still has to wait in a system call with a timeout. The kernel tells nobody, and stopping
// the thread ends the wait: so it is worked out before. /proc/PID/task/TID/syscall says in which call it is,
// and `se.exec_start` of /proc/PID/task/TID/sched since when it sleeps, on the clock of the processor that it
// last ran on; what that clock says now is asked on that processor.

#include <sys/types.h>
#include <sys/user.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "os/task_memory.h"

namespace upkeep::engine {

struct BlockedCall {
  long number = 0;
  std::array<std::uint64_t, 6> arguments = {};
  std::uint64_t stack_pointer = 0;
};
// "7 0x7ffc 0x1 0x3e8 0x0 0x0 0x0 0x7ffd 0x7f12"; none where the thread is running or in no call.
std::optional<BlockedCall> parse_blocked_call(std::string_view text);
// In which one a thread is now.
std::optional<BlockedCall> blocked_call(pid_t pid, pid_t tid);

// Which call restart_syscall(2) goes on with, by the function that it sleeps in (/proc/PID/wchan).
std::optional<long> restarted_call(std::string_view sleeps_in, const BlockedCall& call);

struct TimedWait {
  BlockedCall call;            // with the number of the call that is gone on with
  std::uint64_t left = 0;      // nanoseconds, at least 1; 0: it has no timeout, or nobody tells
  std::uint64_t switches = 0;  // how often the thread had gone to sleep by then
};

class WaitReader {
 public:
  WaitReader();
  ~WaitReader();  // back to the processors that we may run on
  WaitReader(const WaitReader&) = delete;
  WaitReader& operator=(const WaitReader&) = delete;

  // Before the thread is stopped, of the CALL that it is in. None: that could have no timeout.
  std::optional<TimedWait> read(pid_t pid, pid_t tid, const BlockedCall& call, const os::TaskMemory& memory);
  // Afterwards, where it was still in that call: it goes on with what is left, if that can be said in its
  // registers. Returns what is left of a wait whose end the kernel keeps aside, or whose timeout lies in
  // memory that is the program's.
  static std::uint64_t apply(const TimedWait& wait, pid_t pid, pid_t tid, user_regs_struct& registers);

 private:
  std::optional<std::int64_t> clock_of(int processor);
  std::optional<std::int64_t> asleep_for(pid_t pid, pid_t tid, std::string_view sched);
  std::array<std::uint64_t, 128> allowed_ = {};  // sched_getaffinity(2)
  bool moved_ = false;
};

}  // namespace upkeep::engine
