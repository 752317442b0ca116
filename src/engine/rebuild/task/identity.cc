#include "engine/rebuild/task/identity.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <span>
#include <string>
#include <tuple>

#include "engine/rebuild/task/inherited.h"
#include "engine/tree/inner_ids.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

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

}  // namespace

Program compile_login(const Process& process) {
  Program program;
  const auto text = std::to_string(process.login_uid);
  // The lowest that is free: the restorer has 0 in a PID namespace (open_restorer()).
  const int fd = depth_of(process) == 0 ? 0 : 1;
  program.call(SYS_open, {program.text("/proc/self/loginuid"), O_WRONLY});
  program.call(SYS_write, {fd, program.text(text), text.size()});
  program.call(SYS_close, {fd});
  return program;
}

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

void add_directories_and_limits(Program& program, const Process& process) {
  // Both as we see them: the working directory may lie outside of the root.
  program.call(SYS_chdir, {program.text(process.folders.working_directory)});
  if (process.folders.root != "/") program.call(SYS_chroot, {program.text(process.folders.root)});
  for (std::size_t which = 0; which < process.limits.size(); ++which) {
    const rlimit limit = {process.limits[which].soft, process.limits[which].hard};
    program.call(SYS_prlimit64, {0, which, program.value(limit), 0});
  }
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

Program compile_identity_outside(const Process& process) {
  Program program;
  const auto& leader = process.threads.front();
  add_scheduling(program, leader.scheduling, nullptr);
  add_directories_and_limits(program, process);
  add_ids(program, leader.credentials);
  return program;
}

}  // namespace upkeep::engine
