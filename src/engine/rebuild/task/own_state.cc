#include "engine/rebuild/task/own_state.h"

#include <linux/prctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <span>

#include "engine/rebuild/namespaces/entering.h"
#include "engine/rebuild/task/identity.h"
#include "engine/rebuild/task/seccomp.h"
#include "engine/tree/inner_ids.h"
#include "os/clock.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

constexpr std::uint64_t kSignalSetSize = 8;

timeval from_microseconds(std::uint64_t us) {
  return {static_cast<time_t>(us / 1'000'000), static_cast<suseconds_t>(us % 1'000'000)};
}

int signal_of(const Bytes& info) {
  int number = 0;
  std::copy_n(info.data.begin(), std::min(sizeof number, info.data.size()),
              reinterpret_cast<std::uint8_t*>(&number));
  return number;
}

// Ignoring a signal forgets those that are pending: here what children that ended while they were made have
// sent.
void forget_children(Program& program) {
  const std::array<std::uint64_t, 4> ignore = {1 /* SIG_IGN */, 0, 0, 0};
  program.call(SYS_rt_sigaction, {SIGCHLD, program.value(ignore), 0, kSignalSetSize});
}

void set_actions(Program& program, const StoppedProcess& state) {
  for (int signal = 1; signal <= static_cast<int>(state.actions.size()); ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    const auto& action = state.actions[static_cast<std::size_t>(signal - 1)];
    const std::array<std::uint64_t, 4> wanted = {action.handler, action.flags, action.restorer, action.mask};
    program.call(SYS_rt_sigaction, {signal, program.value(wanted), 0, kSignalSetSize});
  }
}

// Kernels from 6.15 on give a timer the ID that it had. Earlier ones count upwards: what comes before is made
// and deleted.
void make_posix_timers(Program& program, const Process& process, bool timer_ids) {
  const auto& state = *process.stopped;
  const auto own_tid = [&](std::int32_t tid) {
    const auto thread = std::ranges::find_if(process.threads, [&](const auto& t) { return t.tid == tid; });
    return thread == process.threads.end() ? tid : seen_by(process, tid, thread->inner_tids);
  };
  if (state.posix_timers.empty()) return;
  if (timer_ids) program.call(SYS_prctl, {os::kPrTimerCreateRestoreIds, 1, 0, 0, 0});
  std::int32_t next = 0;
  for (const auto& timer : state.posix_timers) {
    sigevent event = {};
    event.sigev_notify = timer.notify;
    event.sigev_signo = timer.signal;
    event.sigev_value.sival_ptr = reinterpret_cast<void*>(timer.sigval);
    event._sigev_un._tid = own_tid(timer.thread);
    const auto event_place = program.value(event);
    for (; !timer_ids && next < timer.id; ++next) {
      program.call(SYS_timer_create, {CLOCK_MONOTONIC, 0, program.room(sizeof(int))});
      program.call(SYS_timer_delete, {next});
    }
    program.call(SYS_timer_create, {timer.clock, event_place, program.value(timer.id)});
    next = timer.id + 1;
    const itimerspec time = {os::to_timespec(timer.interval), os::to_timespec(timer.value)};
    if (timer.value != 0) program.call(SYS_timer_settime, {timer.id, 0, program.value(time), 0});
  }
  if (timer_ids) program.call(SYS_prctl, {os::kPrTimerCreateRestoreIds, 0, 0, 0, 0});
}

Program compile_signals(const Process& process, bool timer_ids) {
  Program program;
  const auto& state = *process.stopped;
  forget_children(program);
  set_actions(program, state);
  for (std::size_t which = 0; which < state.interval_timers.size(); ++which) {
    const auto& timer = state.interval_timers[which];
    // One that has run out, and begins anew when its signal is taken: it runs out at once, and its signal is
    // the same one.
    const auto value = timer.value == 0 && timer.interval != 0 ? 1 : timer.value;
    const itimerval time = {from_microseconds(timer.interval), from_microseconds(value)};
    if (value != 0) program.call(SYS_setitimer, {which, program.value(time), 0});
  }
  make_posix_timers(program, process, timer_ids);
  for (const auto& info : state.pending) {
    program.call(SYS_rt_sigqueueinfo,
                 {own_id(process), signal_of(info), program.bytes(std::as_bytes(std::span(info.data)))});
  }
  if (state.child_subreaper) program.call(SYS_prctl, {PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0});
  if (state.thp_disable) program.call(SYS_prctl, {PR_SET_THP_DISABLE, 1, 0, 0, 0});
  program.call(SYS_personality, {process.personality});
  program.call(SYS_umask, {process.folders.umask});
  return program;
}

Program compile_thread(const Process& process, const Thread& thread, const Scheduling* inherited) {
  Program program;
  const auto& state = *thread.stopped;
  program.call(SYS_prctl, {PR_SET_NAME, program.text(thread.comm), 0, 0, 0});
  const stack_t stack = {reinterpret_cast<void*>(state.alternate_stack.pointer), state.alternate_stack.flags,
                         state.alternate_stack.size};
  if (stack.ss_flags != SS_DISABLE || stack.ss_sp != nullptr || stack.ss_size != 0)
    program.call(SYS_sigaltstack, {program.value(stack), 0});
  program.call(SYS_set_tid_address, {state.clear_child_tid});
  if (state.robust_list != 0) program.call(SYS_set_robust_list, {state.robust_list, 24});
  if (state.rseq.pointer != 0)
    program.call(SYS_rseq, {state.rseq.pointer, state.rseq.size, 0, state.rseq.signature});
  for (const auto& info : state.pending) {
    program.call(SYS_rt_tgsigqueueinfo,
                 {own_id(process), seen_by(process, thread.tid, thread.inner_tids), signal_of(info),
                  program.bytes(std::as_bytes(std::span(info.data)))});
  }
  add_scheduling(program, thread.scheduling, inherited);
  return program;
}

void set_speculation(Program& program, int kind, std::uint32_t state) {
  if ((state & PR_SPEC_PRCTL) == 0) return;  // not a matter of the thread
  const auto wanted = state & ~static_cast<std::uint32_t>(PR_SPEC_PRCTL);
  // Another kernel or processor may leave no choice; it is then as safe or safer.
  if (wanted != PR_SPEC_ENABLE) program.try_call(SYS_prctl, {PR_SET_SPECULATION_CTRL, kind, wanted, 0, 0});
}

Program compile_settings(const Thread& thread) {
  Program program;
  const auto& settings = thread.stopped->settings;
  set_speculation(program, PR_SPEC_STORE_BYPASS, settings.store_bypass);
  set_speculation(program, PR_SPEC_INDIRECT_BRANCH, settings.indirect_branch);
  set_speculation(program, PR_SPEC_L1D_FLUSH, settings.l1d_flush);
  if (settings.tsc == PR_TSC_SIGSEGV) program.call(SYS_prctl, {PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0});
  if (settings.mce_kill != PR_MCE_KILL_DEFAULT)
    program.call(SYS_prctl, {PR_MCE_KILL, PR_MCE_KILL_SET, settings.mce_kill, 0, 0});
  if (settings.io_flusher) program.call(SYS_prctl, {PR_SET_IO_FLUSHER, 1, 0, 0, 0});
  return program;
}

Program compile_process_settings(const Process& process) {
  Program program;
  const auto& state = *process.stopped;
  if (state.memory_deny_write_execute != 0)
    program.call(SYS_prctl, {os::kPrSetMdwe, state.memory_deny_write_execute, 0, 0, 0});
  if (state.memory_merge) program.call(SYS_prctl, {os::kPrSetMemoryMerge, 1, 0, 0, 0});
  return program;
}

}  // namespace

Program compile_own_state(const Snapshot& snapshot, const Process& process, const Thread& thread,
                          OwnState how) {
  const bool leader = thread.tid == process.pid;
  Program program;
  if (leader) program.append(compile_childrens_pids(snapshot, process));
  if (leader) program.append(compile_signals(process, how.timer_ids));
  if (leader && !how.user_namespace) add_directories_and_limits(program, process);
  const auto* inherited = how.user_namespace ? nullptr : how.inherited;
  program.append(compile_thread(process, thread, inherited == nullptr ? nullptr : &inherited->scheduling));
  if (leader) program.append(compile_process_settings(process));
  program.append(compile_settings(thread));
  program.append(compile_filters(snapshot, thread, how.common_filters));
  program.append(compile_credentials(process, thread, !how.user_namespace,
                                     inherited == nullptr ? nullptr : &inherited->credentials));
  return program;
}

}  // namespace upkeep::engine
