#include "engine/inspect/task/identity.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "engine/inspect/calls/proc_text.h"
#include "os/file.h"
#include "os/procfs.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

std::vector<std::uint32_t> numbers(std::string_view text) {
  std::vector<std::uint32_t> result;
  const char* at = text.data();
  const char* end = text.data() + text.size();
  while (at < end) {
    std::uint32_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error == std::errc()) result.push_back(value);
    at = error == std::errc() ? next : at + 1;
  }
  return result;
}

Result<Credentials> parse_credentials(KeyedText& status) {
  auto list = [&](std::string_view key) {
    auto value = status.value(key);
    return value ? numbers(*value) : std::vector<std::uint32_t>();
  };
  const auto uids = list("Uid"), gids = list("Gid");
  auto groups = list("Groups");
  const auto inheritable = status.number("CapInh", 16), permitted = status.number("CapPrm", 16),
             effective = status.number("CapEff", 16), bounding = status.number("CapBnd", 16),
             ambient = status.number("CapAmb", 16);
  if (uids.size() != 4 || gids.size() != 4 || !inheritable || !permitted || !effective || !bounding ||
      !ambient)
    return Err("its status lacks credentials");
  Credentials result;
  result.uid = uids[0], result.euid = uids[1], result.suid = uids[2], result.fsuid = uids[3];
  result.gid = gids[0], result.egid = gids[1], result.sgid = gids[2], result.fsgid = gids[3];
  result.groups = std::move(groups);
  result.inheritable = *inheritable, result.permitted = *permitted, result.effective = *effective;
  result.bounding = *bounding, result.ambient = *ambient;
  result.no_new_privs = status.number("NoNewPrivs").value_or(0) != 0;
  return result;
}

Result<Scheduling> read_scheduling(pid_t tid) {
  Scheduling result;
  os::SchedulingAttributes attributes = {};
  if (::syscall(SYS_sched_getattr, tid, &attributes, sizeof attributes, 0) < 0)
    return ErrnoErr("sched_getattr {}", tid);
  result.policy = attributes.policy;
  result.flags = attributes.flags;
  result.nice = attributes.nice;
  result.priority = attributes.priority;
  // The kernel tells a time slice for ordinary tasks too (6.12 on); only deadline tasks have set one.
  if (attributes.policy == SCHED_DEADLINE) {
    result.runtime = attributes.runtime;
    result.deadline = attributes.deadline;
    result.period = attributes.period;
  }
  std::array<std::uint8_t, 1024> mask = {};
  const long size = ::syscall(SYS_sched_getaffinity, tid, mask.size(), mask.data());
  if (size < 0) return ErrnoErr("sched_getaffinity {}", tid);
  result.affinity.data.assign(mask.begin(), mask.begin() + size);
  constexpr int kIoprioWhoProcess = 1;
  const long priority = ::syscall(SYS_ioprio_get, kIoprioWhoProcess, tid);
  if (priority < 0) return ErrnoErr("ioprio_get {}", tid);
  result.io_priority = static_cast<std::int32_t>(priority);
  return result;
}

void look_for_tracer(pid_t tid, KeyedText& status, std::vector<Obstacle>& obstacles) {
  const auto tracer = status.number("TracerPid").value_or(0);
  if (tracer != 0 && tracer != static_cast<std::uint64_t>(::getpid()))
    obstacles.push_back(
        {tid, "a debugger", "a task that is being traced cannot be carried", "end the debugger"});
}

// The line is there only where the processor can do it.
void look_for_shadow_stack(pid_t tid, KeyedText& status, std::vector<Obstacle>& obstacles) {
  static const bool possible = status.value("x86_Thread_features").has_value();
  if (!possible) return;
  const auto features = status.value("x86_Thread_features");
  if (features && features->find("shstk") != std::string_view::npos)
    obstacles.push_back({tid, "a shadow stack", "shadow stacks are not rebuilt by this version", ""});
}

void look_at_core_scheduling(pid_t tid, std::vector<Obstacle>& obstacles) {
  constexpr int kThisThread = 0;  // PIDTYPE_PID
  std::uint64_t cookie = 0;
  // ENODEV where the processor has nothing to share.
  static const bool possible = ::prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, kThisThread, &cookie) == 0;
  if (!possible) return;
  if (::prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, tid, kThisThread, &cookie) == 0 && cookie != 0)
    obstacles.push_back({tid, "a core scheduling cookie", "cookies cannot be made again", ""});
}

// Signal numbers and the like: the low half of what the kernel prints.
std::int32_t small(std::uint64_t value) { return static_cast<std::int32_t>(value); }

// As the kernel prints device numbers: new_encode_dev() of linux/kdev_t.h.
std::uint64_t device_number(std::uint64_t encoded) {
  return makedev((encoded >> 8U) & 0xfffU, (encoded & 0xffU) | ((encoded >> 12U) & 0xfff00U));
}

Result<StatFields> stat_in(os::Fd directory) {
  TRY_ASSIGN(auto text, os::read_record_at(directory, "stat"));
  return StatFields::parse(text);
}

void fill_stat(const StatFields& stat, pid_t pid, Process& process) {
  process.pid = pid;
  process.ppid = small(stat[4]);
  process.pgrp = small(stat[5]);
  process.session = small(stat[6]);
  process.exit_signal = small(stat[38]);
  process.terminal = device_number(stat[7]);
  process.comm = stat.comm();
  process.command = process.comm;
}

void fill_layout(const StatFields& stat, Layout& layout) {
  layout.start_code = stat[26], layout.end_code = stat[27], layout.start_stack = stat[28];
  layout.start_data = stat[45], layout.end_data = stat[46], layout.start_brk = stat[47];
  layout.arg_start = stat[48], layout.arg_end = stat[49], layout.env_start = stat[50],
  layout.env_end = stat[51];
}

// "NSpid:\t1234\t5": ours first. Kernels without PID namespaces say nothing.
std::vector<std::int32_t> inner_ids(std::string_view status, std::string_view key) {
  std::vector<std::int32_t> ids;
  for (const auto number : numbers(value_of(status, key).value_or("")))
    ids.push_back(static_cast<std::int32_t>(number));
  if (!ids.empty()) ids.erase(ids.begin());
  return ids;
}

void fill_inner_ids(std::string_view status, Process& process) {
  process.inner_pids = inner_ids(status, "NSpid");
  process.inner_pgrps = inner_ids(status, "NSpgid");
  process.inner_sessions = inner_ids(status, "NSsid");
}

}  // namespace

Result<void> read_zombie(pid_t pid, Process& process) {
  TRY_ASSIGN(const auto directory, os::open_file(fmt::format("/proc/{}", pid), O_PATH | O_DIRECTORY));
  TRY_ASSIGN(const auto stat, stat_in(directory));
  fill_stat(stat, pid, process);
  process.exit_status = small(stat[52]);
  TRY_ASSIGN(const auto status, os::read_record_at(directory, "status"));
  fill_inner_ids(status, process);
  return {};
}

Result<std::string> read_process(pid_t pid, os::Fd directory, Process& process,
                                 std::vector<Obstacle>& obstacles) {
  TRY_ASSIGN(const auto stat, stat_in(directory));
  fill_stat(stat, pid, process);
  fill_layout(stat, process.memory.layout);
  process.command = os::command_line(pid);
  process.cgroup = os::cgroup_of(pid).value_or("");
  TRY_ASSIGN(const auto personality, os::read_record_at(directory, "personality"));
  (void)std::from_chars(personality.data(), personality.data() + personality.size(), process.personality, 16);
  TRY_ASSIGN(const auto score, os::read_record_at(directory, "oom_score_adj"));
  (void)std::from_chars(score.data(), score.data() + score.size(), process.oom_score_adj);
  const auto login = os::read_record_at(directory, "loginuid").value_or("");  // only where the kernel audits
  (void)std::from_chars(login.data(), login.data() + login.size(), process.login_uid);
  TRY_ASSIGN(const auto filter, os::read_record_at(directory, "coredump_filter"));
  (void)std::from_chars(filter.data(), filter.data() + filter.size(), process.coredump_filter, 16);
  TRY_ASSIGN(const auto limits, os::read_record_at(directory, "limits"));
  TRY_ASSIGN(process.limits, parse_limits(limits));
  TRY_ASSIGN(process.folders.working_directory, os::read_link_at(directory, "cwd"));
  TRY_ASSIGN(process.folders.root, os::read_link_at(directory, "root"));
  TRY_ASSIGN(auto status, os::read_record_at(directory, "status"));
  fill_inner_ids(status, process);
  const auto umask = number_of(status, "Umask", 8);
  if (!umask) return Err("its status lacks a umask");
  process.folders.umask = static_cast<std::uint32_t>(*umask);
  if (process.folders.working_directory.ends_with(" (deleted)"))
    obstacles.push_back(
        {pid, "working directory " + process.folders.working_directory, "it has been removed", ""});
  return status;
}

// New tasks have the label that we have. Where a security module knows no labels the file cannot be read.
void look_at_label(pid_t tid, os::Fd directory, std::vector<Obstacle>& obstacles) {
  static const auto own = os::read_record("/proc/self/attr/current");
  if (!own) return;
  const auto its = os::read_record_at(directory, "attr/current");
  if (!its || *its == *own) return;
  const auto label = its->substr(0, its->find_first_of(std::string_view("\0\n", 2)));
  obstacles.push_back({tid, fmt::format("security label '{}'", label),
                       "tasks with a profile of a security module are not rebuilt by this version",
                       "set the profile aside, or run the program unconfined"});
}

Result<Thread> read_thread(pid_t tid, std::string_view text, std::vector<Obstacle>& obstacles) {
  KeyedText status(text);
  Thread thread;
  thread.tid = tid;
  thread.comm = name_in_status(text);
  look_for_tracer(tid, status, obstacles);
  TRY_ASSIGN(thread.credentials, parse_credentials(status));
  thread.seccomp.mode = static_cast<std::uint32_t>(status.number("Seccomp").value_or(0));
  look_for_shadow_stack(tid, status, obstacles);
  thread.inner_tids = inner_ids(text, "NSpid");
  TRY_ASSIGN(thread.scheduling, read_scheduling(tid));
  look_at_core_scheduling(tid, obstacles);
  return thread;
}

}  // namespace upkeep::engine
