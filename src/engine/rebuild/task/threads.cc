#include "engine/rebuild/task/threads.h"

#include <linux/sched.h>
#include <sched.h>
#include <sys/syscall.h>

#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/rebuild/task/clone.h"
#include "engine/tree/inner_ids.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

constexpr const char* kLastId = "/proc/sys/kernel/ns_last_pid";

Program compile_any_thread() {
  Program program;
  clone_args arguments = {};
  arguments.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  program.call(SYS_clone3, {program.value(arguments), sizeof arguments});
  return program;
}

Program compile_thread_end() {
  Program program;
  program.call(SYS_exit, {0});
  return program;
}

Result<void> make_numbered_thread(pid_t tid, NewProcess& made, CallArena& arena) {
  constexpr int kTries = 200;
  for (int tries = 0; tries < kTries; ++tries) {
    TRY(os::write_value(kLastId, std::to_string(tid - 1)));
    std::vector<os::Tracee> tasks;
    TRY(arena.run(made.threads.front(), compile_any_thread(), [&](os::Tracee task) -> Result<void> {
      tasks.push_back(std::move(task));
      return {};
    }));
    if (tasks.size() != 1) return Err("no thread was made");
    if (tasks.front().tid() == tid) {
      made.threads.push_back(std::move(tasks.front()));
      return {};
    }
    TRY(arena.run_to_end(tasks.front(), compile_thread_end()));
  }
  return Err("the ID {} is always taken by somebody else", tid);
}

}  // namespace

Program compile_threads(const Process& process) {
  Program program;
  constexpr std::uint64_t kFlags =
      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PTRACE;
  for (const auto& thread : process.threads) {
    if (thread.tid != process.pid) clone_task(program, kFlags, 0, wanted_ids(thread.tid, thread.inner_tids));
  }
  return program;
}

Result<void> take_threads(const Process& process, bool all, NewProcess& made) {
  std::set<pid_t> there;
  if (!all) {
    TRY_ASSIGN(const auto tids, os::list_threads(process.pid));
    there.insert(tids.begin(), tids.end());
  }
  for (const auto& thread : process.threads) {
    if (thread.tid != process.pid && (all || there.contains(thread.tid)))
      made.threads.push_back(os::Tracee::adopt(thread.tid));
  }
  for (const auto& thread : std::span(made.threads).subspan(1)) TRY(thread.wait_first_stop());
  return {};
}

Result<void> make_numbered_threads(const Process& process, NewProcess& made, CallArena& arena) {
  TRY_ASSIGN(const auto last, os::read_file(kLastId));
  for (const auto& thread : process.threads) {
    if (thread.tid != process.pid)
      TRY_IN(fmt::format("process {}", process.pid), make_numbered_thread(thread.tid, made, arena));
  }
  // No ID is given again sooner than it would have been.
  return os::write_value(kLastId, last);
}

}  // namespace upkeep::engine
