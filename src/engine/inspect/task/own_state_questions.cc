#include "engine/inspect/task/own_state_questions.h"

#include <asm/prctl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "engine/inspect/calls/guest_calls.h"
#include "engine/inspect/calls/proc_text.h"
#include "engine/inspect/calls/signal_frame.h"
#include "engine/inspect/memory/protection_keys.h"
#include "engine/tree/answers.h"
#include "os/file.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

constexpr std::uint64_t kSignalSetSize = 8;

std::uint64_t nanoseconds(const timespec& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}
std::uint64_t microseconds(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
}

using Questions = std::vector<GuestQuestion>;

// Where the answer is written to memory.
template <typename T, typename Take>
auto written(Take take) {
  return [take](const GuestAnswer& answer) -> Result<void> {
    TRY_ASSIGN(const auto written, answer.written<T>());
    take(written);
    return {};
  };
}
// Where it is returned.
template <typename Take>
auto returned(Take take) {
  return [take](const GuestAnswer& answer) -> Result<void> {
    take(answer.returned());
    return {};
  };
}

GuestQuestion ask_control(const char* name, int option, std::function<void(long)> take) {
  return {name, {SYS_prctl, {static_cast<std::uint64_t>(option)}}, returned(std::move(take))};
}
template <typename T>
GuestQuestion ask_written_control(const char* name, int option, T& into) {
  return {name,
          {SYS_prctl, {static_cast<std::uint64_t>(option), kAnswerPlace}},
          written<T>([&into](const T& answer) { into = answer; })};
}

// As the setting is kept; ENODEV: this processor needs no such thing.
std::uint32_t as_state(long answer) { return answer > 0 ? static_cast<std::uint32_t>(answer) : 0; }

// The states of prctl(PR_GET_SPECULATION_CTRL). Where they are not a matter of the thread everybody has the
// same ones, we too; most others are told by /proc/PID/status.
struct Speculation {
  std::uint64_t kind;
  std::uint32_t ThreadSettings::*state;
  const char* line;
  std::vector<std::pair<std::string_view, std::uint32_t>> texts;
  std::uint32_t own = as_state(::prctl(PR_GET_SPECULATION_CTRL, kind, 0, 0, 0));
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

std::optional<std::uint32_t> told_without_asking(const Speculation& speculation, std::string_view status) {
  if ((speculation.own & PR_SPEC_PRCTL) == 0) return speculation.own;
  if (speculation.line == nullptr) return std::nullopt;
  const auto text = value_of(status, speculation.line);
  for (const auto& [known, state] : speculation.texts) {
    if (text == known) return state;
  }
  return std::nullopt;
}

void ask_speculation(std::string_view status, ThreadSettings& settings, Questions& questions) {
  for (const auto& speculation : speculations()) {
    auto& state = settings.*speculation.state;
    if (const auto told = told_without_asking(speculation, status)) {
      state = *told;
      continue;
    }
    questions.push_back({nullptr,
                         {SYS_prctl, {PR_GET_SPECULATION_CTRL, speculation.kind}},
                         returned([&state](long answer) { state = as_state(answer); })});
  }
}

// Keyrings that are asked about: -1 and so on, ENOKEY where there is none.
GuestQuestion ask_keyring(std::int32_t special, long& serial) {
  return {nullptr,
          {SYS_keyctl, {KEYCTL_GET_KEYRING_ID, static_cast<std::uint64_t>(std::int64_t{special}), 0}},
          returned([&serial](long answer) { serial = answer; })};
}

void ask_thread(std::string_view status, Thread& thread, KeyringSerials& keyrings, Questions& questions) {
  auto& state = *thread.stopped;
  auto& settings = state.settings;
  questions.push_back(
      {"sigaltstack", {SYS_sigaltstack, {0, kAnswerPlace}}, written<stack_t>([&state](const stack_t& stack) {
         state.alternate_stack = {reinterpret_cast<std::uintptr_t>(stack.ss_sp), stack.ss_size,
                                  stack.ss_flags & ~SS_ONSTACK};
       })});
  questions.push_back(ask_written_control("PR_GET_TID_ADDRESS", PR_GET_TID_ADDRESS, state.clear_child_tid));
  questions.push_back(ask_written_control("PR_GET_PDEATHSIG", PR_GET_PDEATHSIG, state.parent_death_signal));
  questions.push_back(ask_control("PR_GET_SECUREBITS", PR_GET_SECUREBITS, [&thread](long answer) {
    thread.credentials.securebits = static_cast<std::uint32_t>(answer);
  }));
  questions.push_back(ask_written_control("PR_GET_TSC", PR_GET_TSC, settings.tsc));
  questions.push_back(ask_control("PR_MCE_KILL_GET", PR_MCE_KILL_GET, [&settings](long answer) {
    settings.mce_kill = static_cast<std::int32_t>(answer);
  }));
  // EPERM: it takes CAP_SYS_RESOURCE to ask, and to have become one.
  questions.push_back(ask_control(nullptr, PR_GET_IO_FLUSHER,
                                  [&settings](long answer) { settings.io_flusher = answer == 1; }));
  questions.push_back(ask_control("PR_GET_TIMERSLACK", PR_GET_TIMERSLACK, [&thread](long answer) {
    thread.scheduling.timer_slack = static_cast<std::uint64_t>(answer);
  }));
  ask_speculation(status, settings, questions);
  questions.push_back(ask_keyring(KEY_SPEC_THREAD_KEYRING, keyrings.thread));
  questions.push_back(ask_keyring(KEY_SPEC_PROCESS_KEYRING, keyrings.process));
}

// Asked for are those that the program has changed. SIGCHLD's flags count for the default action too
// (SA_NOCLDWAIT and SA_NOCLDSTOP of sigaction(2)); those of the others do nothing until a handler is set,
// together with new ones.
void ask_actions(std::string_view status, StoppedProcess& state, Questions& questions) {
  const auto ignored = number_of(status, "SigIgn", 16), caught = number_of(status, "SigCgt", 16);
  const std::uint64_t changed =
      ignored && caught ? *ignored | *caught | (1ULL << static_cast<unsigned>(SIGCHLD - 1)) : ~0ULL;
  struct KernelAction {
    std::uint64_t handler, flags, restorer, mask;
  };
  for (std::uint64_t signal = 1; signal <= state.actions.size(); ++signal) {
    if ((changed >> (signal - 1) & 1U) == 0) continue;
    questions.push_back(
        {"rt_sigaction",
         {SYS_rt_sigaction, {signal, 0, kAnswerPlace, kSignalSetSize}},
         written<KernelAction>([&into = state.actions[signal - 1]](const KernelAction& action) {
           into = {action.handler, action.flags, action.restorer, action.mask};
         })});
  }
}

Result<void> ask_timers(pid_t pid, StoppedProcess& state, std::vector<Obstacle>& obstacles,
                        Questions& questions) {
  for (std::uint64_t which = 0; which < state.interval_timers.size(); ++which) {
    questions.push_back({"getitimer",
                         {SYS_getitimer, {which, kAnswerPlace}},
                         written<itimerval>([&into = state.interval_timers[which]](const itimerval& timer) {
                           into = {microseconds(timer.it_value), microseconds(timer.it_interval)};
                         })});
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
    questions.push_back({"timer_gettime",
                         {SYS_timer_gettime, {id, kAnswerPlace}},
                         written<itimerspec>([&timer](const itimerspec& left) {
                           timer.value = nanoseconds(left.it_value);
                           timer.interval = nanoseconds(left.it_interval);
                         })});
    questions.push_back({"timer_getoverrun", {SYS_timer_getoverrun, {id}}, returned([&timer](long overrun) {
                           timer.overrun = static_cast<std::int32_t>(overrun);
                         })});
  }
  return {};
}

// What another version may rebuild. Permission to use AMX belongs to the process
// (arch/x86/kernel/fpu/xstate.c asks the group leader).
void ask_for_obstacles(pid_t pid, std::vector<Obstacle>& obstacles, Questions& questions) {
  auto refuse = [&obstacles, pid](const char* what, const char* why) {
    obstacles.push_back({pid, what, why, ""});
  };
  questions.push_back({nullptr,
                       {SYS_arch_prctl, {os::kArchGetXcompPerm, kAnswerPlace}},
                       [refuse](const GuestAnswer& permitted) -> Result<void> {
                         if (permitted.returned() != 0) return {};
                         TRY_ASSIGN(const auto features, permitted.written<std::uint64_t>());
                         if ((features & kAmxFeatures & (2ULL << 17U)) != 0)
                           refuse("permission to use AMX", "it is not rebuilt by this version");
                         return {};
                       }});
  questions.push_back({nullptr, {SYS_arch_prctl, {ARCH_GET_CPUID}}, returned([refuse](long cpuid) {
                         if (cpuid == 0)
                           refuse("cpuid instructions that fault",
                                  "ARCH_SET_CPUID is not rebuilt by this version");
                       })});
  questions.push_back({nullptr,
                       {SYS_arch_prctl, {os::kArchGetUntagMask, kAnswerPlace}},
                       [refuse](const GuestAnswer& mask) -> Result<void> {
                         if (mask.returned() != 0) return {};
                         TRY_ASSIGN(const auto bits, mask.written<std::uint64_t>());
                         if (bits != ~0ULL)
                           refuse("tagged addresses", "they are not rebuilt by this version");
                         return {};
                       }});
}

Result<void> ask_process(std::string_view status, Process& process, KeyringSerials& keyrings,
                         std::vector<Obstacle>& obstacles, Questions& questions) {
  auto& state = *process.stopped;
  ask_actions(status, state, questions);
  TRY(ask_timers(process.pid, state, obstacles, questions));
  questions.push_back({"brk", {SYS_brk, {}}, returned([&process](long brk) {
                         process.memory.layout.brk = static_cast<std::uint64_t>(brk);
                       })});
  questions.push_back(
      {"PR_GET_CHILD_SUBREAPER",
       {SYS_prctl, {PR_GET_CHILD_SUBREAPER, kAnswerPlace}},
       written<std::int32_t>([&state](std::int32_t on) { state.child_subreaper = on != 0; })});
  questions.push_back(ask_control("PR_GET_DUMPABLE", PR_GET_DUMPABLE, [&state](long dumpable) {
    state.dumpable = static_cast<std::int32_t>(dumpable);
  }));
  // The one is told by 5.0 and later, but also 0 where the kernel has no huge pages at all.
  if (number_of(status, "THP_enabled") != 1U) {
    questions.push_back(ask_control("PR_GET_THP_DISABLE", PR_GET_THP_DISABLE, [&](long thp) {
      state.thp_disable = thp != 0;
      if (thp > 1)
        obstacles.push_back(
            {process.pid, "PR_THP_DISABLE_EXCEPT_ADVISED", "it is not rebuilt by this version", ""});
    }));
  }
  // EINVAL: the kernel does not have them yet (6.3, 6.4).
  questions.push_back(ask_control(nullptr, os::kPrGetMdwe, [&state](long deny) {
    state.memory_deny_write_execute = deny > 0 ? static_cast<std::uint32_t>(deny) : 0;
  }));
  questions.push_back(
      ask_control(nullptr, os::kPrGetMemoryMerge, [&state](long merge) { state.memory_merge = merge > 0; }));
  ask_for_obstacles(process.pid, obstacles, questions);
  ask_first_protection_key(process, questions);
  questions.push_back(ask_keyring(KEY_SPEC_SESSION_KEYRING, keyrings.session));
  return {};
}

}  // namespace

Result<std::vector<GuestQuestion>> own_state_questions(std::string_view status, Process& process,
                                                       Thread& thread, KeyringSerials& keyrings,
                                                       std::vector<Obstacle>& obstacles) {
  Questions questions;
  ask_thread(status, thread, keyrings, questions);
  if (&thread == &process.threads.front()) TRY(ask_process(status, process, keyrings, obstacles, questions));
  return questions;
}

}  // namespace upkeep::engine
