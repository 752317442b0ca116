// Registers, signals, timers: from ptrace(2) where it tells, else by system calls run in the task.

#include <asm/prctl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "engine/native/inspect/proc_text.h"
#include "engine/native/inspect/readers.h"
#include "engine/native/inspect/signal_frame.h"
#include "os/file.h"
#include "os/restart_codes.h"
#include "os/uapi_supplement.h"

namespace upkeep::native {
namespace {

constexpr std::uint64_t kSignalSetSize = 8;

std::uint64_t nanoseconds(const timespec& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}
std::uint64_t microseconds(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
}

// A call that cannot fail where the kernel is as we know it.
Result<long> ask(GuestCalls& task, const char* name, long number,
                 std::array<std::uint64_t, 6> arguments = {}) {
  TRY_ASSIGN(const long answer, task.call(number, arguments));
  if (answer < 0) return Err("{} in the task: {}", name, errno_text(static_cast<int>(-answer)));
  return answer;
}

template <typename T>
Result<T> ask_value(GuestCalls& task, const char* name, int option) {
  TRY(ask(task, name, SYS_prctl, {static_cast<std::uint64_t>(option), task.scratch()}));
  return task.answer<T>();
}

Result<void> read_registers(const os::Tracee& thread, Registers& registers,
                            std::vector<Obstacle>& obstacles) {
  TRY_ASSIGN(const auto general, thread.registers());
  static_assert(sizeof general == sizeof registers.general);
  std::memcpy(registers.general.data(), &general, sizeof general);
  constexpr unsigned long long kUserCode64 = 0x33;
  if (general.cs != kUserCode64)
    obstacles.push_back(
        {thread.tid(), "32-bit code", "32-bit tasks are not rebuilt", "carry a 64-bit build of it"});
  TRY_ASSIGN(registers.xstate.data, thread.xstate());
  constexpr std::size_t kHeader = 512;  // XSTATE_BV
  std::uint64_t in_use = 0;
  if (registers.xstate.data.size() < kHeader + sizeof in_use) return Err("no extended registers");
  std::memcpy(&in_use, registers.xstate.data.data() + kHeader, sizeof in_use);
  if ((in_use & kAmxFeatures) != 0)
    obstacles.push_back({thread.tid(), "AMX tile registers", "they are not rebuilt by this version", ""});
  return {};
}

// The states of prctl(PR_GET_SPECULATION_CTRL). Where they are not a matter of the thread everybody has the
// same ones, we too; most others are told by /proc/PID/status.
struct Speculation {
  std::uint64_t kind;
  std::uint32_t ThreadSettings::*state;
  const char* line;
  std::vector<std::pair<std::string_view, std::uint32_t>> texts;
};

const std::vector<Speculation>& speculations() {
  static const std::vector<Speculation> all = {
      {PR_SPEC_STORE_BYPASS,
       &ThreadSettings::store_bypass,
       "Speculation_Store_Bypass",
       {{"thread vulnerable", PR_SPEC_PRCTL | PR_SPEC_ENABLE},
        {"thread mitigated", PR_SPEC_PRCTL | PR_SPEC_DISABLE},
        {"thread force mitigated", PR_SPEC_PRCTL | PR_SPEC_FORCE_DISABLE}}},
      {PR_SPEC_INDIRECT_BRANCH,
       &ThreadSettings::indirect_branch,
       "SpeculationIndirectBranch",
       {{"conditional enabled", PR_SPEC_PRCTL | PR_SPEC_ENABLE},
        {"conditional disabled", PR_SPEC_PRCTL | PR_SPEC_DISABLE},
        {"conditional force disabled", PR_SPEC_PRCTL | PR_SPEC_FORCE_DISABLE}}},
      {PR_SPEC_L1D_FLUSH, &ThreadSettings::l1d_flush, nullptr, {}}};
  return all;
}

// As the setting is kept; ENODEV: this processor needs no such thing.
std::uint32_t as_state(long answer) { return answer > 0 ? static_cast<std::uint32_t>(answer) : 0; }

std::optional<std::uint32_t> told_without_asking(const Speculation& speculation, std::string_view status) {
  const long own = ::prctl(PR_GET_SPECULATION_CTRL, speculation.kind, 0, 0, 0);
  if ((as_state(own) & PR_SPEC_PRCTL) == 0) return as_state(own);
  if (speculation.line == nullptr) return std::nullopt;
  const auto text = value_of(status, speculation.line);
  for (const auto& [known, state] : speculation.texts) {
    if (text == known) return state;
  }
  return std::nullopt;
}

// Where in a thread's scratch memory each answer comes to lie.
constexpr std::uint64_t kStackAnswer = 0, kTidAnswer = 64, kDeathSignalAnswer = 128, kTscAnswer = 192;

// What each thread is asked, in the order in which take_answers() takes the answers.
std::vector<GuestCall> questions(const GuestCalls& thread) {
  auto at = [&](std::uint64_t answer) { return thread.scratch() + answer; };
  auto special = [](std::int32_t serial) { return static_cast<std::uint64_t>(std::int64_t{serial}); };
  return {{SYS_sigaltstack, {0, at(kStackAnswer)}},
          {SYS_prctl, {PR_GET_TID_ADDRESS, at(kTidAnswer)}},
          {SYS_prctl, {PR_GET_PDEATHSIG, at(kDeathSignalAnswer)}},
          {SYS_prctl, {PR_GET_TSC, at(kTscAnswer)}},
          {SYS_prctl, {PR_GET_SECUREBITS}},
          {SYS_prctl, {PR_MCE_KILL_GET}},
          {SYS_prctl, {PR_GET_IO_FLUSHER}},
          {SYS_keyctl, {KEYCTL_GET_KEYRING_ID, special(KEY_SPEC_THREAD_KEYRING), 0}},
          {SYS_keyctl, {KEYCTL_GET_KEYRING_ID, special(KEY_SPEC_PROCESS_KEYRING), 0}}};
}

Result<void> take_answers(GuestCalls& calls, const std::vector<long>& answers, Thread& thread,
                          Snapshot& snapshot) {
  constexpr const char* kNames[] = {"sigaltstack", "PR_GET_TID_ADDRESS", "PR_GET_PDEATHSIG",
                                    "PR_GET_TSC",  "PR_GET_SECUREBITS",  "PR_MCE_KILL_GET"};
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (answers.at(i) < 0)
      return Err("{} in the task: {}", kNames[i], errno_text(static_cast<int>(-answers[i])));
  }
  auto& state = *thread.stopped;
  TRY_ASSIGN(const auto stack, calls.answer<stack_t>(kStackAnswer));
  state.alternate_stack = {reinterpret_cast<std::uintptr_t>(stack.ss_sp), stack.ss_size,
                           stack.ss_flags & ~SS_ONSTACK};
  TRY_ASSIGN(state.clear_child_tid, calls.answer<std::uint64_t>(kTidAnswer));
  TRY_ASSIGN(state.parent_death_signal, calls.answer<std::int32_t>(kDeathSignalAnswer));
  TRY_ASSIGN(state.settings.tsc, calls.answer<std::int32_t>(kTscAnswer));
  thread.credentials.securebits = static_cast<std::uint32_t>(answers.at(4));
  state.settings.mce_kill = static_cast<std::int32_t>(answers.at(5));
  // EPERM: it takes CAP_SYS_RESOURCE to ask, and to have become one.
  state.settings.io_flusher = answers.at(6) == 1;
  if (answers.at(7) > 0 || answers.at(8) > 0) TRY(look_for_other_keyrings(calls, thread, snapshot));
  return {};
}

Result<void> read_speculation(GuestCalls& calls, std::string_view status, ThreadSettings& settings) {
  for (const auto& speculation : speculations()) {
    auto state = told_without_asking(speculation, status);
    if (!state) {
      TRY_ASSIGN(const long answer, calls.call(SYS_prctl, {PR_GET_SPECULATION_CTRL, speculation.kind}));
      state = as_state(answer);
    }
    settings.*speculation.state = *state;
  }
  return {};
}

Result<void> read_thread_from_outside(const os::Tracee& thread, StoppedThread& state,
                                      std::vector<Obstacle>& obstacles) {
  TRY(read_registers(thread, state.registers, obstacles));
  TRY_ASSIGN(state.signal_mask, thread.signal_mask());
  TRY_ASSIGN(auto pending, thread.pending_signals(false));
  for (auto& info : pending) state.pending.push_back({std::move(info)});
  if (auto rseq = thread.rseq()) state.rseq = {rseq->pointer, rseq->size, rseq->signature};
  std::size_t size = 0;
  if (::syscall(SYS_get_robust_list, thread.tid(), &state.robust_list, &size) < 0)
    return ErrnoErr("get_robust_list {}", thread.tid());
  return {};
}

// A poll that is made anew waits for what is left, in the milliseconds of its argument. (The task itself, if
// it is let go, goes on with the time that the kernel has kept.)
void look_at_interrupted_call(pid_t tid, StoppedThread& state, std::vector<Obstacle>& obstacles) {
  constexpr std::size_t kRax = 10, kRdx = 12, kOrigRax = 15;  // in user_regs_struct
  constexpr std::uint64_t kMillisecond = 1'000'000;
  auto& general = state.registers.general;
  if (static_cast<long>(general[kRax]) != os::kRestartBlock) return;
  const auto call = static_cast<long>(general[kOrigRax]);
  if (call == SYS_poll && state.time_left != 0)
    general[kRdx] = (state.time_left + kMillisecond - 1) / kMillisecond;
  if (call == SYS_restart_syscall)
    obstacles.push_back(
        {tid, "an interrupted system call", "nobody tells which one it goes on with", "try again"});
}

// Asked for are those that the program has changed. SIGCHLD's flags count for the default action too
// (SA_NOCLDWAIT and SA_NOCLDSTOP of sigaction(2)); those of the others do nothing until a handler is set,
// together with new ones.
Result<void> read_actions(GuestCalls& calls, std::string_view status, StoppedProcess& state) {
  const auto ignored = number_of(status, "SigIgn", 16), caught = number_of(status, "SigCgt", 16);
  const std::uint64_t changed =
      ignored && caught ? *ignored | *caught | (1ULL << static_cast<unsigned>(SIGCHLD - 1)) : ~0ULL;
  for (std::uint64_t signal = 1; signal <= state.actions.size(); ++signal) {
    if ((changed >> (signal - 1) & 1U) == 0) continue;
    TRY(ask(calls, "rt_sigaction", SYS_rt_sigaction, {signal, 0, calls.scratch(), kSignalSetSize}));
    struct KernelAction {
      std::uint64_t handler, flags, restorer, mask;
    };
    TRY_ASSIGN(const auto action, calls.answer<KernelAction>());
    state.actions[signal - 1] = {action.handler, action.flags, action.restorer, action.mask};
  }
  return {};
}

Result<void> read_timers(GuestCalls& calls, pid_t pid, StoppedProcess& state,
                         std::vector<Obstacle>& obstacles) {
  for (std::uint64_t which = 0; which < state.interval_timers.size(); ++which) {
    TRY(ask(calls, "getitimer", SYS_getitimer, {which, calls.scratch()}));
    TRY_ASSIGN(const auto timer, calls.answer<itimerval>());
    state.interval_timers[which] = {microseconds(timer.it_value), microseconds(timer.it_interval)};
  }
  auto text = os::read_file(fmt::format("/proc/{}/timers", pid));
  if (!text) {
    obstacles.push_back(
        {pid, "POSIX timers", "this kernel does not tell about them (CHECKPOINT_RESTORE)", ""});
    return {};
  }
  TRY_ASSIGN(state.posix_timers, parse_timers(*text));
  for (auto& timer : state.posix_timers) {
    const auto id = static_cast<std::uint64_t>(timer.id);
    TRY(ask(calls, "timer_gettime", SYS_timer_gettime, {id, calls.scratch()}));
    TRY_ASSIGN(const auto left, calls.answer<itimerspec>());
    timer.value = nanoseconds(left.it_value);
    timer.interval = nanoseconds(left.it_interval);
    TRY_ASSIGN(const long overrun, ask(calls, "timer_getoverrun", SYS_timer_getoverrun, {id}));
    timer.overrun = static_cast<std::int32_t>(overrun);
  }
  return {};
}

// Permission to use AMX belongs to the process (arch/x86/kernel/fpu/xstate.c asks the group leader).
Result<void> look_for_amx(GuestCalls& calls, pid_t pid, std::vector<Obstacle>& obstacles) {
  TRY_ASSIGN(const long permitted, calls.call(SYS_arch_prctl, {os::kArchGetXcompPerm, calls.scratch()}));
  if (permitted != 0) return {};
  TRY_ASSIGN(const auto features, calls.answer<std::uint64_t>());
  if ((features & kAmxFeatures & (2ULL << 17U)) != 0)
    obstacles.push_back({pid, "permission to use AMX", "it is not rebuilt by this version", ""});
  return {};
}

Result<void> read_process_by_call(GuestCalls& calls, Process& process, std::vector<Obstacle>& obstacles) {
  auto& state = *process.stopped;
  TRY_ASSIGN(const auto status, os::read_file(fmt::format("/proc/{}/status", process.pid)));
  TRY(read_actions(calls, status, state));
  TRY(look_for_amx(calls, process.pid, obstacles));
  TRY(read_timers(calls, process.pid, state, obstacles));
  TRY_ASSIGN(const long brk, ask(calls, "brk", SYS_brk));
  process.memory.layout.brk = static_cast<std::uint64_t>(brk);
  TRY_ASSIGN(state.locks_future, read_future_locks(calls, process));
  TRY_ASSIGN(const auto subreaper,
             ask_value<std::int32_t>(calls, "PR_GET_CHILD_SUBREAPER", PR_GET_CHILD_SUBREAPER));
  state.child_subreaper = subreaper != 0;
  TRY_ASSIGN(const long dumpable, ask(calls, "PR_GET_DUMPABLE", SYS_prctl, {PR_GET_DUMPABLE}));
  state.dumpable = static_cast<std::int32_t>(dumpable);
  // The one is told by 5.0 and later, but also 0 where the kernel has no huge pages at all.
  if (number_of(status, "THP_enabled") != 1U) {
    TRY_ASSIGN(const long thp, ask(calls, "PR_GET_THP_DISABLE", SYS_prctl, {PR_GET_THP_DISABLE}));
    state.thp_disable = thp != 0;
    if (thp > 1)
      obstacles.push_back(
          {process.pid, "PR_THP_DISABLE_EXCEPT_ADVISED", "it is not rebuilt by this version", ""});
  }
  // EINVAL: the kernel does not have them yet (6.3, 6.4).
  TRY_ASSIGN(const long deny, calls.call(SYS_prctl, {os::kPrGetMdwe}));
  state.memory_deny_write_execute = deny > 0 ? static_cast<std::uint32_t>(deny) : 0;
  TRY_ASSIGN(const long merge, calls.call(SYS_prctl, {os::kPrGetMemoryMerge}));
  state.memory_merge = merge > 0;
  TRY_ASSIGN(const long cpuid, calls.call(SYS_arch_prctl, {ARCH_GET_CPUID}));
  if (cpuid == 0)
    obstacles.push_back(
        {process.pid, "cpuid instructions that fault", "ARCH_SET_CPUID is not rebuilt by this version", ""});
  TRY_ASSIGN(const long mask, calls.call(SYS_arch_prctl, {os::kArchGetUntagMask, calls.scratch()}));
  if (mask == 0) {
    TRY_ASSIGN(const auto bits, calls.answer<std::uint64_t>());
    if (bits != ~0ULL)
      obstacles.push_back({process.pid, "tagged addresses", "they are not rebuilt by this version", ""});
  }
  return {};
}

void look_for_lost_signals(pid_t tid, std::string_view status, const StoppedThread& state,
                           const StoppedProcess& process, std::vector<Obstacle>& obstacles) {
  auto listed = [](const std::vector<Bytes>& pending) {
    std::uint64_t set = 0;
    for (const auto& info : pending) set |= 1ULL << ((static_cast<unsigned>(info.data[0]) - 1U) & 63U);
    return set;
  };
  // A queue that was full when a signal came leaves no more than a bit in the set.
  if ((number_of(status, "SigPnd", 16).value_or(0) & ~listed(state.pending)) != 0 ||
      (number_of(status, "ShdPnd", 16).value_or(0) & ~listed(process.pending)) != 0)
    obstacles.push_back({tid, "a pending signal without details", "its origin is not known", ""});
}

}  // namespace

Result<void> read_stopped(const HeldProcess& held, const std::vector<std::string>& statuses, Process& process,
                          const os::TaskMemory& memory, Snapshot& snapshot) {
  auto& obstacles = snapshot.obstacles;
  process.stopped.emplace();
  TRY_ASSIGN(auto shared, held.threads.front().tracee.pending_signals(true));
  for (auto& info : shared) process.stopped->pending.push_back({std::move(info)});
  for (std::size_t i = 0; i < held.threads.size(); ++i) {
    if (process.stopped->stop_signal == 0) process.stopped->stop_signal = held.threads[i].stop_signal;
    auto& state = process.threads[i].stopped.emplace();
    TRY(read_thread_from_outside(held.threads[i].tracee, state, obstacles));
    state.time_left = held.threads[i].time_left;
    look_at_interrupted_call(process.threads[i].tid, state, obstacles);
    look_for_lost_signals(process.threads[i].tid, statuses[i], *process.threads[i].stopped, *process.stopped,
                          obstacles);
  }
  process.job_stopped = process.stopped->stop_signal != 0;
  auto code = find_guest_code(process.pid, process.memory.mappings, memory);
  if (!code) {
    obstacles.push_back({process.pid, "signal actions and timers", code.error().message(), ""});
    return {};
  }
  std::vector<const os::Tracee*> threads;
  for (const auto& thread : held.threads) threads.push_back(&thread.tracee);
  for (std::size_t first = 0; first < threads.size();) {
    TRY_ASSIGN(auto some, GuestThreads::begin(std::span(threads).subspan(first), memory, *code));
    TRY_ASSIGN(const auto answers, some.call(questions));
    for (std::size_t i = 0; i < some.size(); ++i) {
      auto& thread = process.threads[first + i];
      TRY(take_answers(some[i], answers[i], thread, snapshot));
      TRY(read_speculation(some[i], statuses[first + i], thread.stopped->settings));
    }
    if (first == 0) TRY(read_process_by_call(some[0], process, obstacles));
    if (first == 0) TRY(read_keyring(some[0], process, snapshot));
    TRY(some.end());
    first += some.size();
  }
  return {};
}

}  // namespace upkeep::native
