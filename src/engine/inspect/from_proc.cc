#include "engine/inspect/from_proc.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "engine/inspect/files/descriptors.h"
#include "engine/inspect/memory/address_space.h"
#include "engine/inspect/namespaces/namespaces.h"
#include "engine/inspect/task/identity.h"
#include "os/file.h"
#include "os/parallel.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

// Read by one thread of ours at a time.
constexpr std::size_t kThreadsTogether = 32;

struct Some {
  FromProc* of;
  std::size_t first, last;  // of its threads
  std::vector<Obstacle> obstacles = {};
  Result<void> outcome = {};
};

bool has_our_mounts(os::Fd directory) {
  static const auto ours = os::namespace_id(0, "mnt");
  const auto its = os::namespace_id_at(directory, "ns/mnt");
  return ours && its && *ours == *its;
}

// All but its threads, whose IDs are put down.
Result<void> read_process_alone(FromProc& from, Look tasks) {
  auto& process = from.process;
  const pid_t pid = process.pid;
  TRY_ASSIGN(const auto directory, os::open_file(fmt::format("/proc/{}", pid), O_PATH | O_DIRECTORY));
  from.statuses.emplace_back();
  TRY_ASSIGN(from.statuses.front(), read_process(pid, directory, process, from.obstacles));
  TRY(read_address_space(pid, directory, tasks, process.memory, from.obstacles));
  if (has_our_mounts(directory)) {
    TRY_ASSIGN(from.descriptors, read_descriptor_facts(pid, tasks));
  }
  return {};
}

Result<void> read_one_thread(Some& some, std::size_t number, const ThreadNamespaces& of_process, Look tasks) {
  auto& process = some.of->process;
  auto& thread = process.threads[number];
  const auto path = fmt::format("/proc/{}/task/{}", process.pid, thread.tid);
  os::UniqueFd directory;
  if (tasks != Look::just_made) {
    TRY_ASSIGN(directory, os::open_file(path, O_PATH | O_DIRECTORY));
    of_process.look_at(thread.tid, directory, some.obstacles);
    look_at_label(thread.tid, directory, some.obstacles);
  }
  auto& status = some.of->statuses[number];
  if (status.empty() || thread.tid != process.pid) {  // that of the first one came with the process
    TRY_ASSIGN(status, tasks == Look::just_made ? os::read_record(path + "/status")
                                                : os::read_record_at(directory, "status"));
  }
  TRY_ASSIGN(auto read, read_thread(thread.tid, status, some.obstacles));
  const bool io_worker = read.comm.starts_with("iou-") && os::is_io_worker(process.pid, thread.tid);
  thread = std::move(read);
  if (io_worker) thread.tid = 0;
  return {};
}

Result<void> read_some_threads(Some& some, Look tasks) {
  auto& process = some.of->process;
  const bool has_others = process.threads.size() > 1;
  const ThreadNamespaces of_process(tasks == Look::just_made || !has_others ? 0 : process.pid);
  for (auto i = some.first; i < some.last; ++i) {
    auto read = read_one_thread(some, i, of_process, tasks);
    if (read) continue;
    if (stand_still(tasks)) return read;
    process.threads[i].tid = 0;  // it has ended
  }
  return {};
}

Result<void> read_threads(FromProc& from, Look tasks) {
  const auto count = from.process.threads.size();
  from.statuses.resize(count);
  std::vector<Some> jobs;
  for (std::size_t first = 0; first < count; first += kThreadsTogether)
    jobs.push_back({&from, first, std::min(count, first + kThreadsTogether)});
  (void)os::for_each_parallel(jobs.size(), os::few_threads(), [&](std::size_t i) -> Result<void> {
    jobs[i].outcome = read_some_threads(jobs[i], tasks);
    return {};
  });
  for (auto& job : jobs) {
    TRY(std::move(job.outcome));
    std::move(job.obstacles.begin(), job.obstacles.end(), std::back_inserter(from.obstacles));
  }
  std::erase_if(from.process.threads, [](const auto& t) { return t.tid == 0; });
  return {};
}

Result<void> glance_at_process(FromProc& from) {
  auto& process = from.process;
  const pid_t pid = process.pid;
  TRY_ASSIGN(const auto stat, os::read_stat(pid));
  if (stat.state == 'Z') return read_zombie(pid, process);
  TRY(read_process_alone(from, Look::glance));
  process.job_stopped = stat.state == 'T';
  TRY_ASSIGN(auto tids, os::list_threads(pid));
  std::stable_partition(tids.begin(), tids.end(), [pid](pid_t tid) { return tid == pid; });
  for (const pid_t tid : tids) process.threads.emplace_back().tid = tid;
  return read_threads(from, Look::glance);
}

Result<void> read_all_of(const HeldProcess& held, Look tasks, FromProc& from) {
  from.process.pid = held.pid;
  if (held.zombie) return read_zombie(held.pid, from.process);
  for (const auto& thread : held.threads) from.process.threads.emplace_back().tid = thread.tracee.tid();
  TRY(read_process_alone(from, tasks));
  return read_threads(from, tasks);
}

}  // namespace

FromProc glance_at_proc(pid_t pid) {
  FromProc from;
  from.process.pid = pid;
  from.outcome = glance_at_process(from);
  return from;
}

Result<void> glance_at_proc(const std::vector<pid_t>& pids, const TakeFromProc& take) {
  std::vector<FromProc> all(pids.size());
  return os::make_and_take(
      pids.size(), os::few_threads(), [&](std::size_t i) { all[i] = glance_at_proc(pids[i]); },
      [&](std::size_t i) { return take(i, all[i]); });
}

Result<void> read_from_proc(const std::vector<HeldProcess>& processes, Look tasks, const TakeFromProc& take) {
  std::vector<FromProc> all(processes.size());
  return os::make_and_take(
      processes.size(), os::few_threads(),
      [&](std::size_t i) { all[i].outcome = read_all_of(processes[i], tasks, all[i]); },
      [&](std::size_t i) { return take(i, all[i]); });
}

}  // namespace upkeep::engine
