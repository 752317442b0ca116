#include "engine/rebuild/task/finish.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "os/restart_codes.h"
#include "os/task_memory.h"

namespace upkeep::engine {
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

// A sleep whose deadline the kernel keeps aside (restart_syscall(2)) is begun again with the time that is
// left, and interrupted at once: the thread then stands where the kernel looks at interrupted calls.
struct Sleep {
  user_regs_struct call = {};                               // with which it is begun again
  unsigned long long user_regs_struct::*time_at = nullptr;  // where that says which time, if it does
  timespec time = {};
};

struct UnfinishedThread {
  const os::Tracee* task;
  const StoppedThread* state;
  user_regs_struct wanted;
  std::optional<Sleep> sleep;
};

// Nothing where the call can only be made anew.
Result<std::optional<Sleep>> find_sleep(const StoppedThread& state, const user_regs_struct& wanted,
                                        const os::TaskMemory& memory, const CallArena& arena) {
  Sleep sleep;
  sleep.call = wanted;
  sleep.call.rip = arena.system_call();
  sleep.call.rsp = 0;
  sleep.call.rax = wanted.orig_rax;
  sleep.call.orig_rax = ~0ULL;
  auto from = [&](std::uint64_t request, std::uint64_t remaining,
                  unsigned long long user_regs_struct::*at) -> Result<std::optional<Sleep>> {
    TRY_ASSIGN(sleep.time, time_left(memory, request, remaining, state.time_left));
    sleep.time_at = at;
    return std::optional(sleep);
  };
  switch (static_cast<long>(wanted.orig_rax)) {
    case SYS_nanosleep:
      return from(wanted.rdi, wanted.rsi, &user_regs_struct::rdi);
    case SYS_clock_nanosleep:
      return from(wanted.rdx, wanted.r10, &user_regs_struct::rdx);
    case SYS_futex:
      if (waits_for_a_time(wanted)) return from(wanted.r10, 0, &user_regs_struct::r10);
      return std::optional(sleep);
    case SYS_poll:
      return std::optional(sleep);  // its argument says already what is left
    default:
      return std::optional<Sleep>();
  }
}

bool has_sleep(const user_regs_struct& registers) {
  return static_cast<long>(registers.orig_rax) >= 0 && static_cast<long>(registers.rax) == os::kRestartBlock;
}

Result<void> find_threads(const Unfinished& process, const CallArena& arena,
                          std::vector<UnfinishedThread>& all) {
  std::optional<os::TaskMemory> memory;
  for (std::size_t i = 0; i < process.threads->size(); ++i) {
    const auto& thread = process.process->threads[i];
    auto& one = all.emplace_back(
        UnfinishedThread{&(*process.threads)[i], &*thread.stopped, recorded(thread), std::nullopt});
    if (!has_sleep(one.wanted)) continue;
    if (!memory) {
      TRY_ASSIGN(memory, os::TaskMemory::open(process.process->pid));
    }
    TRY_ASSIGN(one.sleep, find_sleep(*one.state, one.wanted, *memory, arena));
    if (!one.sleep) one.wanted.rax = static_cast<unsigned long long>(os::kRestartNoHand);
  }
  return {};
}

Result<void> take_up_sleeps(std::vector<UnfinishedThread>& threads, CallArena& arena) {
  std::vector<UnfinishedThread*> sleepers;
  std::vector<timespec> times;
  for (auto& thread : threads) {
    if (!thread.sleep) continue;
    sleepers.push_back(&thread);
    times.push_back(thread.sleep->time);
  }
  if (sleepers.empty()) return {};
  TRY_ASSIGN(auto time, arena.lay_out(std::as_bytes(std::span(times))));
  for (auto* thread : sleepers) {
    auto& sleep = *thread->sleep;
    if (sleep.time_at != nullptr) sleep.call.*sleep.time_at = time;
    time += sizeof(timespec);
    TRY(thread->task->set_registers(sleep.call));
    TRY(thread->task->resume_to_system_call());
  }
  for (const auto* thread : sleepers) {
    TRY(await_system_call(*thread->task, "the beginning of a system call"));
    TRY(thread->task->interrupt());
    TRY(thread->task->resume());
  }
  for (auto* thread : sleepers) {
    TRY(await_interruption(*thread->task, "a stop in a system call"));
    TRY_ASSIGN(const auto after, thread->task->registers());
    const bool sleeps_on = static_cast<long>(after.rax) == os::kRestartBlock;
    // Ready by now: made anew, it says so itself.
    thread->wanted.rax = static_cast<unsigned long long>(sleeps_on ? os::kRestartBlock : os::kRestartNoHand);
  }
  return {};
}

Result<void> begin_removing_arena(const os::Tracee& task, const CallArena& arena) {
  TRY_ASSIGN(auto registers, task.registers());
  registers.rip = arena.system_call();
  registers.rsp = 0;
  registers.rax = SYS_munmap;
  registers.orig_rax = ~0ULL;
  registers.rdi = arena.address();
  registers.rsi = arena.size();
  TRY(task.set_registers(registers));
  return task.resume_to_system_call();
}

Result<void> remove_arena(std::span<const Unfinished> processes, const CallArena& arena) {
  for (const auto& process : processes) TRY(begin_removing_arena(process.threads->front(), arena));
  for (const auto& process : processes) {
    const auto& task = process.threads->front();
    TRY(await_system_call(task, "the beginning of munmap"));
    TRY(task.interrupt());
    TRY(task.resume());  // stops before the next instruction, which is not there any more
  }
  for (const auto& process : processes) {
    const auto& task = process.threads->front();
    TRY(await_interruption(task, "a stop after munmap"));
    TRY_ASSIGN(const auto after, task.registers());
    if (after.rax != 0)
      return Err("munmap in task {}: {}", task.tid(), errno_text(static_cast<int>(-after.rax)));
  }
  return {};
}

}  // namespace

Result<void> finish(std::span<const Unfinished> processes, CallArena& arena) {
  std::vector<UnfinishedThread> threads;
  for (const auto& process : processes) TRY(find_threads(process, arena, threads));
  TRY(take_up_sleeps(threads, arena));
  TRY(remove_arena(processes, arena));
  for (const auto& thread : threads) {
    TRY(thread.task->set_xstate(thread.state->registers.xstate.data));
    TRY(thread.task->set_signal_mask(thread.state->signal_mask));
    TRY(thread.task->set_registers(thread.wanted));
  }
  return {};
}

}  // namespace upkeep::engine
