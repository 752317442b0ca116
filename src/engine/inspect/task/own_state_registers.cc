#include "engine/inspect/task/own_state_registers.h"

#include <sys/syscall.h>

#include <cstring>
#include <string>
#include <utility>

#include "engine/inspect/calls/proc_text.h"
#include "engine/inspect/calls/signal_frame.h"
#include "os/restart_codes.h"

namespace upkeep::engine {
namespace {

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
                          std::vector<Obstacle>& obstacles) {
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
  return {};
}

}  // namespace upkeep::engine
