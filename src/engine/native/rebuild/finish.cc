#include "engine/native/rebuild/finish.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include <cstring>

#include "os/restart_codes.h"
#include "os/task_memory.h"

namespace upkeep::native {
namespace {

using std::chrono::seconds;

user_regs_struct recorded(const Thread& thread) {
  user_regs_struct registers = {};
  const auto& general = thread.stopped->registers.general;
  static_assert(sizeof registers == sizeof general);
  std::memcpy(&registers, general.data(), sizeof registers);
  return registers;
}

Result<void> await_system_call(const os::Tracee& task, const char* what) {
  TRY_ASSIGN(const auto stop, task.wait(seconds(10)));
  if (stop.kind != os::Stop::Kind::system_call) return Err("task {} did not come to {}", task.tid(), what);
  return {};
}

Result<void> await_interruption(const os::Tracee& task, const char* what) {
  TRY_ASSIGN(const auto stop, task.wait(seconds(10)));
  if (!stop.was_interrupted()) return Err("task {} did not come to {}", task.tid(), what);
  return {};
}

// From the stop that a system call begins with: the call is made and, where it would sleep, interrupted at
// once. The thread then stands where the kernel looks at interrupted calls.
Result<user_regs_struct> make_interrupted_call(const os::Tracee& task, const user_regs_struct& registers) {
  TRY(task.set_registers(registers));
  TRY(task.resume_to_system_call());
  TRY(await_system_call(task, "the beginning of a system call"));
  TRY(task.interrupt());
  TRY(task.resume());
  TRY(await_interruption(task, "a stop in a system call"));
  return task.registers();
}

// The time that a sleep still had to go: the kernel has written it where the program asked for it, or it was
// worked out (inspect/timed_wait.h). Else the whole time: a sleep is never too short.
Result<timespec> time_left(const os::TaskMemory& memory, std::uint64_t request, std::uint64_t remaining,
                           std::uint64_t worked_out) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  if (remaining == 0 && worked_out != 0)
    return timespec{static_cast<time_t>(worked_out / kSecond), static_cast<long>(worked_out % kSecond)};
  return memory.value<timespec>(remaining != 0 ? remaining : request);
}

// Whether the futex is waited for for a time. FUTEX_WAIT_BITSET waits until a point in time.
bool waits_for_a_time(const user_regs_struct& registers) {
  return (static_cast<int>(registers.rsi) & FUTEX_CMD_MASK) == FUTEX_WAIT && registers.r10 != 0;
}

// Sleeps whose deadline the kernel keeps aside (restart_syscall(2)) are begun again with the time that is
// left. Returns what rax has to be for the recorded registers.
Result<long> take_up_sleep(const os::Tracee& task, const os::TaskMemory& memory,
                           const user_regs_struct& wanted, std::uint64_t worked_out, Workshop& shop) {
  auto registers = wanted;
  registers.rip = shop.system_call();
  registers.rsp = 0;
  registers.rax = wanted.orig_rax;
  registers.orig_rax = ~0ULL;
  auto put_time = [&](std::uint64_t request, std::uint64_t remaining,
                      unsigned long long& into) -> Result<void> {
    TRY_ASSIGN(const auto left, time_left(memory, request, remaining, worked_out));
    TRY_ASSIGN(into, shop.lay_out(std::as_bytes(std::span(&left, 1))));
    return {};
  };
  switch (static_cast<long>(wanted.orig_rax)) {
    case SYS_nanosleep:
      TRY(put_time(wanted.rdi, wanted.rsi, registers.rdi));
      break;
    case SYS_clock_nanosleep:
      TRY(put_time(wanted.rdx, wanted.r10, registers.rdx));
      break;
    case SYS_futex:
      if (waits_for_a_time(wanted)) TRY(put_time(wanted.r10, 0, registers.r10));
      break;
    case SYS_poll:
      break;  // its argument says already what is left
    default:
      return os::kRestartNoHand;
  }
  TRY_ASSIGN(const auto after, make_interrupted_call(task, registers));
  const long result = static_cast<long>(after.rax);
  return result == os::kRestartBlock ? os::kRestartBlock
                                     : os::kRestartNoHand;  // ready by now: made anew, it says so itself
}

Result<void> remove_workshop(const os::Tracee& task, const Workshop& shop) {
  TRY_ASSIGN(auto registers, task.registers());
  registers.rip = shop.system_call();
  registers.rsp = 0;
  registers.rax = SYS_munmap;
  registers.orig_rax = ~0ULL;
  registers.rdi = shop.address();
  registers.rsi = shop.size();
  TRY(task.set_registers(registers));
  TRY(task.resume_to_system_call());
  TRY(await_system_call(task, "the beginning of munmap"));
  TRY(task.resume_to_system_call());
  TRY(await_system_call(task, "the end of munmap"));
  TRY_ASSIGN(const auto after, task.registers());
  if (after.rax != 0)
    return Err("munmap in task {}: {}", task.tid(), errno_text(static_cast<int>(-after.rax)));
  TRY(task.interrupt());
  TRY(task.resume());  // stops before the next instruction, which is not there any more
  return await_interruption(task, "a stop after munmap");
}

}  // namespace

Result<void> finish_process(const Process& process, const std::vector<os::Tracee>& threads, Workshop& shop) {
  TRY_ASSIGN(const auto memory, os::TaskMemory::open(process.pid));
  std::vector<user_regs_struct> wanted;
  for (std::size_t i = 0; i < threads.size(); ++i) {
    wanted.push_back(recorded(process.threads[i]));
    auto& registers = wanted.back();
    if (static_cast<long>(registers.orig_rax) < 0 || static_cast<long>(registers.rax) != os::kRestartBlock)
      continue;
    const auto left = process.threads[i].stopped->time_left;
    TRY_ASSIGN(const long rax, take_up_sleep(threads[i], memory, registers, left, shop));
    registers.rax = static_cast<unsigned long long>(rax);
  }
  TRY(remove_workshop(threads.front(), shop));
  for (std::size_t i = 0; i < threads.size(); ++i) {
    const auto& state = *process.threads[i].stopped;
    TRY(threads[i].set_xstate(state.registers.xstate.data));
    TRY(threads[i].set_signal_mask(state.signal_mask));
    TRY(threads[i].set_registers(wanted[i]));
  }
  return {};
}

}  // namespace upkeep::native
