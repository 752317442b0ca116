// Signals, timers, limits, scheduling, credentials.

#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <algorithm>
#include <tuple>

#include "engine/rebuild/compile.h"
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

struct CapabilitySets {
  __user_cap_data_struct data[2];
};
CapabilitySets capability_sets(std::uint64_t effective, std::uint64_t permitted, std::uint64_t inheritable) {
  auto low = [](std::uint64_t set) { return static_cast<std::uint32_t>(set); };
  auto high = [](std::uint64_t set) { return static_cast<std::uint32_t>(set >> 32U); };
  return {{{low(effective), low(permitted), low(inheritable)},
           {high(effective), high(permitted), high(inheritable)}}};
}

void set_capabilities(Program& program, std::uint64_t effective, std::uint64_t permitted,
                      std::uint64_t inheritable) {
  const __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  program.call(SYS_capset,
               {program.value(header), program.value(capability_sets(effective, permitted, inheritable))});
}

void add_policy_and_affinity(Program& program, const Scheduling& scheduling) {
  const os::SchedulingAttributes attributes = {sizeof(os::SchedulingAttributes),
                                               scheduling.policy,
                                               scheduling.flags,
                                               scheduling.nice,
                                               scheduling.priority,
                                               scheduling.runtime,
                                               scheduling.deadline,
                                               scheduling.period};
  program.call(SYS_sched_setattr, {0, program.value(attributes), 0});
  program.call(SYS_sched_setaffinity, {0, scheduling.affinity.data.size(),
                                       program.bytes(std::as_bytes(std::span(scheduling.affinity.data)))});
}

}  // namespace

void add_scheduling(Program& program, const Scheduling& scheduling, const Scheduling* inherited) {
  const auto timed = [](const Scheduling& s) {
    return std::tie(s.policy, s.flags, s.nice, s.priority, s.runtime, s.deadline, s.period, s.affinity);
  };
  const bool same = inherited != nullptr && scheduling.flags == 0 && timed(scheduling) == timed(*inherited);
  if (!same) add_policy_and_affinity(program, scheduling);
  if (scheduling.io_priority != 0)
    program.call(SYS_ioprio_set, {1 /* IOPRIO_WHO_PROCESS */, 0, scheduling.io_priority});
  const bool same_slack = inherited != nullptr && scheduling.timer_slack == inherited->timer_slack;
  if (scheduling.timer_slack != 0 && !same_slack)
    program.call(SYS_prctl, {PR_SET_TIMERSLACK, scheduling.timer_slack, 0, 0, 0});
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

void add_limits(Program& program, const Process& process) {
  // Both as we see them: the working directory may lie outside of the root.
  program.call(SYS_chdir, {program.text(process.folders.working_directory)});
  if (process.folders.root != "/") program.call(SYS_chroot, {program.text(process.folders.root)});
  for (std::size_t which = 0; which < process.limits.size(); ++which) {
    const rlimit limit = {process.limits[which].soft, process.limits[which].hard};
    program.call(SYS_prlimit64, {0, which, program.value(limit), 0});
  }
}

Program compile_limits(const Process& process) {
  Program program;
  add_limits(program, process);
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

// Changing the user must not take the capabilities that the next steps need.
void add_ids(Program& program, const Credentials& wanted) {
  program.call(SYS_prctl, {PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0});
  program.call(SYS_setgroups, {wanted.groups.size(), program.bytes(std::as_bytes(std::span(wanted.groups)))});
  program.call(SYS_setresgid, {wanted.gid, wanted.egid, wanted.sgid});
  program.call(SYS_setfsgid, {wanted.fsgid});
  program.call(SYS_setresuid, {wanted.uid, wanted.euid, wanted.suid});
  program.call(SYS_setfsuid, {wanted.fsuid});
}

void add_credentials(Program& program, const Credentials& wanted, bool ids) {
  for (int capability = 0; capability <= highest_capability(); ++capability) {
    const bool keep = (wanted.bounding >> static_cast<unsigned>(capability) & 1U) != 0;
    if (!keep) program.call(SYS_prctl, {PR_CAPBSET_DROP, capability, 0, 0, 0});
  }
  if (ids) add_ids(program, wanted);
  set_capabilities(program, wanted.permitted | (1ULL << CAP_SETPCAP),
                   wanted.permitted | (1ULL << CAP_SETPCAP), wanted.inheritable);
  for (int capability = 0; capability <= highest_capability(); ++capability) {
    if ((wanted.ambient >> static_cast<unsigned>(capability) & 1U) != 0)
      program.call(SYS_prctl, {PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0});
  }
  program.call(SYS_prctl, {PR_SET_SECUREBITS, wanted.securebits, 0, 0, 0});
  set_capabilities(program, wanted.effective, wanted.permitted, wanted.inheritable);
  if (wanted.no_new_privs) program.call(SYS_prctl, {PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0});
}

Program compile_credentials(const Process& process, const Thread& thread, bool ids,
                            const Credentials* inherited) {
  Program program;
  const bool same = inherited != nullptr && thread.credentials == *inherited;
  if (!same) add_credentials(program, thread.credentials, ids);
  // A change of credentials resets these.
  if (thread.stopped->parent_death_signal != 0)
    program.call(SYS_prctl, {PR_SET_PDEATHSIG, thread.stopped->parent_death_signal, 0, 0, 0});
  const bool leader = thread.tid == process.pid;
  if (process.stopped->dumpable <= 1 && (leader || !same))
    program.call(SYS_prctl, {PR_SET_DUMPABLE, process.stopped->dumpable, 0, 0, 0});
  return program;
}

Program compile_own_state(const Snapshot& snapshot, const Process& process, const Thread& thread,
                          OwnState how) {
  const bool leader = thread.tid == process.pid;
  Program program;
  if (leader) program.append(compile_childrens_pids(snapshot, process));
  if (leader) program.append(compile_signals(process, how.timer_ids));
  if (leader && !how.user_namespace) program.append(compile_limits(process));
  const auto* inherited = how.user_namespace ? nullptr : how.inherited;
  program.append(compile_thread(process, thread, inherited == nullptr ? nullptr : &inherited->scheduling));
  if (leader) program.append(compile_process_settings(process));
  program.append(compile_settings(thread));
  program.append(compile_filters(snapshot, process, thread));
  program.append(compile_credentials(process, thread, !how.user_namespace,
                                     inherited == nullptr ? nullptr : &inherited->credentials));
  return program;
}

}  // namespace upkeep::engine
