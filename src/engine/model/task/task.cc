#include "engine/model/task/task.h"

#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <unordered_set>

namespace upkeep::engine {
namespace {

constexpr long kERESTARTNOHAND = -514, kERESTART_RESTARTBLOCK = -516;  // linux/errno.h of the kernel's

// One for each PID namespace that it is in.
Result<void> check_inner_ids(const Process& process) {
  constexpr std::size_t kDeepestNamespace = 32;  // MAX_PID_NS_LEVEL of kernel/pid_namespace.c
  const auto depth = process.inner_pids.size();
  const bool same =
      process.inner_pgrps.size() == depth && process.inner_sessions.size() == depth &&
      std::ranges::all_of(process.threads, [&](const Thread& t) { return t.inner_tids.size() == depth; });
  if (!same || depth > kDeepestNamespace || (depth == 0) != (process.pid_namespace == 0))
    return Err("its PID namespaces contradict each other");
  const auto is_inner = [](std::int32_t id) { return id == 1 || is_task_id(id); };
  const auto possible = [&](std::int32_t id) { return id == 0 || is_inner(id); };
  bool good = std::ranges::all_of(process.inner_pids, is_inner) &&
              std::ranges::all_of(process.inner_pgrps, possible) &&
              std::ranges::all_of(process.inner_sessions, possible);
  for (const auto& thread : process.threads)
    good = good && std::ranges::all_of(thread.inner_tids, is_inner) &&
           (thread.tid != process.pid || thread.inner_tids == process.inner_pids);
  return good ? Result<void>() : Err("impossible IDs in its PID namespace");
}

Result<void> check_stop(const Process& process) {
  constexpr std::array kStops = {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
  const auto signal = process.stopped->stop_signal;
  if (process.job_stopped ? std::ranges::find(kStops, signal) == kStops.end() : signal != 0)
    return Err("signal {} does not stop it", signal);
  return {};
}

Result<void> check_exit_status(std::int32_t status) {
  constexpr int kHighestSignal = 64, kHighestStatus = 0xffff;
  if (status < 0 || status > kHighestStatus || (status & 0x7f) > kHighestSignal)
    return Err("no process ends with the status {}", status);
  return {};
}

// IDS: those of all tasks before it. A leader that has ended has left its ID to its session or process group.
Result<void> check_ids(const Process& process, const KnownObjects& known,
                       std::unordered_set<std::int32_t>& ids) {
  if (!is_task_id(process.pid) || !is_task_id(process.pgrp) || !is_task_id(process.session))
    return Err("impossible IDs");
  if (!process.exit_status && (process.threads.empty() || process.threads.front().tid != process.pid))
    return Err("its first thread is not its leader");
  if (process.threads.empty() && !ids.insert(process.pid).second) return Err("its ID is used twice");
  for (const auto& thread : process.threads) {
    if (!is_task_id(thread.tid) || !ids.insert(thread.tid).second)
      return Err("thread ID {} is used twice or none", thread.tid);
  }
  for (const auto id : {process.session, process.pgrp}) {
    if (!known.processes.contains(id) && known.tasks.contains(id))
      return Err("a thread leads its session or process group");
  }
  return {};
}

// The hardware may save a part of the extended registers that is in its initial state, or leave it out. What
// the kernel says about the area itself lies before XSTATE_BV.
void forget_initial_state(StoppedThread& thread) {
  constexpr std::size_t kInUse = 464, kLegacyEnd = 576;  // sw_reserved, XSTATE_BV; what is behind the header
  auto& bytes = thread.registers.xstate.data;
  if (bytes.size() < kLegacyEnd) return;
  std::fill(bytes.begin() + kInUse, bytes.begin() + kLegacyEnd, std::uint8_t{0});
}

// A sleep whose time was over when it was taken up again is made anew instead of gone on with
// (rebuild/task/finish.cc).
void forget_ended_sleep(StoppedThread& thread) {
  constexpr std::size_t kRax = 10, kOrigRax = 15;  // in user_regs_struct
  constexpr std::uint64_t kSleeps[] = {SYS_nanosleep, SYS_clock_nanosleep, SYS_futex, SYS_poll};
  auto& general = thread.registers.general;
  if (static_cast<long>(general[kRax]) == kERESTARTNOHAND &&
      std::ranges::find(kSleeps, general[kOrigRax]) != std::end(kSleeps))
    general[kRax] = static_cast<std::uint64_t>(kERESTART_RESTARTBLOCK);
}

// PR_SET_MEMORY_MERGE: all that the kernel can merge, which in 7.3 is more than in 6.12.
void forget_what_is_merged(AddressSpace& memory) {
  for (auto& mapping : memory.mappings) std::erase(mapping.flags, "mg");
}

}  // namespace

Result<void> validate(const std::vector<Process>& processes, const KnownObjects& known) {
  std::unordered_set<std::int32_t> ids, seen;
  for (const auto& process : processes) {
    TRY_IN(title_of(process, 0), check_ids(process, known, ids));
    if (!seen.contains(process.ppid) && known.processes.contains(process.ppid))
      return Err("process {}: it is listed before its parent", process.pid);
    seen.insert(process.pid);
  }
  return {};
}

Result<void> validate(const Process& process, const KnownObjects& known) {
  TRY(check_inner_ids(process));
  if (process.exit_status) return check_exit_status(*process.exit_status);
  if (process.stopped) TRY(check_stop(process));
  if (process.namespaces && *process.namespaces >= known.namespaces)
    return Err("its namespaces are not there");
  if (process.stopped && process.stopped->keyring && *process.stopped->keyring >= known.keyrings)
    return Err("its keyring is not there");
  if (process.terminal != 0 && !known.terminals.contains(process.terminal))
    return Err("its terminal is not there");
  return {};
}

Result<void> validate(const Thread& thread, const KnownObjects& known) {
  for (const auto filter : thread.seccomp.filters) {
    if (filter >= known.seccomp_filters) return Err("a filter is not there");
  }
  return {};
}

void make_comparable(StoppedThread& value, const StoppedThread*, Comparison&) {
  forget_initial_state(value);
  forget_ended_sleep(value);
  forget_signals_of_timers(value.pending);
  value.time_left = 0;
}

void make_comparable(StoppedProcess& value, const StoppedProcess*, Comparison& comparison) {
  forget_signals_of_timers(value.pending);
  if (!value.keyring) return;
  const auto place = comparison.keyrings.find(*value.keyring);
  value.keyring = place == comparison.keyrings.end() ? std::nullopt : std::optional(place->second);
}

void make_comparable(Process& value, const Process*, Comparison& comparison) {
  if (!comparison.tasks.contains(value.ppid)) value.ppid = 0;
  value.command.clear();
  value.cgroup.clear();  // it is there, or not
  for (auto* number : {&value.pid_namespace, &value.pid_namespace_for_children}) {
    if (*number != 0 && *number != kUnbornPidNamespace) *number = comparison.namespaces(*number);
  }
  if (value.stopped && value.stopped->memory_merge) forget_what_is_merged(value.memory);
}

}  // namespace upkeep::engine
