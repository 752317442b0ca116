#include "engine/native/inspect/from_proc.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "engine/native/inspect/readers.h"
#include "os/file.h"
#include "os/parallel.h"
#include "os/procfs.h"

namespace upkeep::native {
namespace {

// Read by one thread of ours at a time.
constexpr std::size_t kThreadsTogether = 32;

struct Some {
  FromProc* of;
  std::size_t first, last;  // of its threads
  std::vector<Obstacle> obstacles = {};
  Result<void> outcome = {};
};

bool has_our_mounts(pid_t pid) {
  static const auto ours = os::namespace_id(0, "mnt");
  const auto its = os::namespace_id(pid, "mnt");
  return ours && its && *ours == *its;
}

Result<os::UniqueFd> open_folder(pid_t pid) {
  return os::open_file(fmt::format("/proc/{}", pid), O_PATH | O_DIRECTORY);
}

Result<void> read_memory_of(FromProc& from, os::Fd folder, bool stopped, std::vector<Obstacle>& obstacles) {
  return read_address_space(from.process.pid, folder, stopped, from.process.memory, obstacles);
}

// All but its memory and its threads, whose IDs are put down.
Result<void> read_process_alone(FromProc& from, os::Fd folder, bool stopped) {
  auto& process = from.process;
  const pid_t pid = process.pid;
  from.statuses.emplace_back();
  TRY_ASSIGN(from.statuses.front(), read_process(pid, folder, process, from.obstacles));
  if (has_our_mounts(pid)) {
    TRY_ASSIGN(from.descriptors, read_descriptor_facts(pid, stopped));
  }
  return {};
}

Result<void> read_one_thread(Some& some, std::size_t number, const ThreadNamespaces& of_process,
                             bool made_here) {
  auto& process = some.of->process;
  auto& thread = process.threads[number];
  const auto path = fmt::format("/proc/{}/task/{}", process.pid, thread.tid);
  os::UniqueFd folder;
  if (!made_here) {
    TRY_ASSIGN(folder, os::open_file(path, O_PATH | O_DIRECTORY));
    of_process.look_at(thread.tid, folder, some.obstacles);
    look_at_label(thread.tid, folder, some.obstacles);
  }
  auto& status = some.of->statuses[number];
  if (status.empty() || thread.tid != process.pid) {  // that of the first one came with the process
    TRY_ASSIGN(status, made_here ? os::read_record(path + "/status") : os::read_record_at(folder, "status"));
  }
  TRY_ASSIGN(auto read, read_thread(thread.tid, status, some.obstacles));
  const bool io_worker = read.comm.starts_with("iou-") && os::is_io_worker(process.pid, thread.tid);
  thread = std::move(read);
  if (io_worker) thread.tid = 0;
  return {};
}

enum class Tasks { running, stopped, made_here };

Result<void> read_some_threads(Some& some, Tasks tasks) {
  auto& process = some.of->process;
  const bool made_here = tasks == Tasks::made_here;
  const bool has_others = process.threads.size() > 1;
  const ThreadNamespaces of_process(made_here || !has_others ? 0 : process.pid);
  for (auto i = some.first; i < some.last; ++i) {
    auto read = read_one_thread(some, i, of_process, made_here);
    if (read) continue;
    if (tasks != Tasks::running) return read;
    process.threads[i].tid = 0;  // it has ended
  }
  return {};
}

Result<void> read_threads(FromProc& from, Tasks tasks) {
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
  TRY_ASSIGN(const auto folder, open_folder(pid));
  TRY(read_process_alone(from, folder, false));
  TRY(read_memory_of(from, folder, false, from.obstacles));
  process.job_stopped = stat.state == 'T';
  TRY_ASSIGN(auto tids, os::list_threads(pid));
  std::stable_partition(tids.begin(), tids.end(), [pid](pid_t tid) { return tid == pid; });
  for (const pid_t tid : tids) process.threads.emplace_back().tid = tid;
  return read_threads(from, Tasks::running);
}

// One whose threads stand still. Its mappings are told by the kernel in as much time as all the rest of it:
// where there are fewer processes than threads of ours, these are two things for two of them.
class Stopped {
 public:
  Stopped(const HeldProcess& held, bool made_here) : held_(held), made_here_(made_here) {
    from_.process.pid = held.pid;
  }
  void read_memory() {
    if (!held_.zombie) memory_outcome_ = try_to_read_memory();
  }
  // Writes to nothing that read_memory() does.
  void read_rest() {
    from_.outcome = held_.zombie ? read_zombie(held_.pid, from_.process) : try_to_read_rest();
  }
  FromProc& all() {
    if (from_.outcome) from_.outcome = std::move(memory_outcome_);
    std::move(memory_obstacles_.begin(), memory_obstacles_.end(), std::back_inserter(from_.obstacles));
    return from_;
  }

 private:
  Result<void> try_to_read_memory() {
    TRY_ASSIGN(const auto folder, open_folder(held_.pid));
    return read_memory_of(from_, folder, true, memory_obstacles_);
  }
  Result<void> try_to_read_rest() {
    for (const auto& thread : held_.threads) from_.process.threads.emplace_back().tid = thread.tracee.tid();
    TRY_ASSIGN(const auto folder, open_folder(held_.pid));
    TRY(read_process_alone(from_, folder, true));
    return read_threads(from_, made_here_ ? Tasks::made_here : Tasks::stopped);
  }

  const HeldProcess& held_;
  bool made_here_;
  FromProc from_;
  Result<void> memory_outcome_;
  std::vector<Obstacle> memory_obstacles_;
};

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

Result<void> read_from_proc(const std::vector<HeldProcess>& processes, bool made_here,
                            const TakeFromProc& take) {
  std::vector<Stopped> all;
  all.reserve(processes.size());
  for (const auto& held : processes) all.emplace_back(held, made_here);
  const std::size_t parts = processes.size() < os::few_threads() ? 2 : 1;
  return os::make_and_take(
      processes.size() * parts, os::few_threads(),
      [&](std::size_t i) {
        auto& process = all[i / parts];
        if (i % parts == 0) process.read_memory();
        if (i % parts == parts - 1) process.read_rest();
      },
      [&](std::size_t i) -> Result<void> {
        if (i % parts != parts - 1) return {};
        return take(i / parts, all[i / parts].all());
      });
}

}  // namespace upkeep::native
