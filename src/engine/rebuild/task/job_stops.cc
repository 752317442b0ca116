#include "engine/rebuild/task/job_stops.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/tree/inner_ids.h"

namespace upkeep::engine {
namespace {

using std::chrono::seconds;

Result<void> await(const os::Tracee& task, os::Stop::Kind kind) {
  TRY_ASSIGN(const auto stop, task.wait(seconds(10)));
  if (stop.kind != kind) return Err("task {} did not come to job control's stop", task.tid());
  return {};
}

// One thread takes the signal; the others learn of it as soon as they run. SIGSTOP is what nobody blocks: on
// its way it becomes the wanted one.
Result<void> stop_job(const Process& process, const std::vector<os::Tracee>& threads) {
  constexpr std::uint64_t kAll = ~0ULL;
  const auto signal = static_cast<unsigned>(process.stopped->stop_signal);
  const auto& first = threads.front();
  if (::syscall(SYS_tgkill, process.pid, first.tid(), SIGSTOP) < 0) return ErrnoErr("tgkill {}", first.tid());
  TRY(first.resume());
  TRY(await(first, os::Stop::Kind::signal_delivery));
  TRY(first.set_signal_mask(kAll & ~(1ULL << (signal - 1))));
  TRY(first.resume(static_cast<int>(signal)));
  TRY(await(first, os::Stop::Kind::group_stop));
  TRY(first.set_signal_mask(kAll));
  for (const auto& thread : threads) {
    if (&thread == &first) continue;
    TRY(thread.resume());
    TRY(await(thread, os::Stop::Kind::group_stop));
  }
  return {};
}

bool is_stopped(const Process& process) { return !process.exit_status && process.job_stopped; }

}  // namespace

Program compile_wait_for_stop(const Process& parent, const Process& stopped) {
  Program program;
  program.call(SYS_waitid, {P_PID, seen_by(parent, stopped), 0, WSTOPPED | WNOHANG | __WALL, 0});
  return program;
}

Result<void> stop_jobs(const Snapshot& snapshot, NewTasks& tasks, CallArena& arena) {
  for (const auto& process : snapshot.processes) {
    if (is_stopped(process))
      TRY_IN(fmt::format("process {}", process.pid), stop_job(process, tasks.find(process.pid)->threads));
  }
  for (const auto& process : snapshot.processes) {
    const auto* parent = snapshot.find(process.ppid);
    const bool reported = is_stopped(process) && !process.stopped->stop_untold;
    if (reported && parent != nullptr && !parent->exit_status)
      TRY(arena.run(tasks.find(parent->pid)->threads.front(), compile_wait_for_stop(*parent, process)));
  }
  return {};
}

}  // namespace upkeep::engine
