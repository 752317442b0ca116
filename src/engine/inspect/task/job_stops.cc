#include "engine/inspect/task/job_stops.h"

#include <sys/syscall.h>
#include <sys/wait.h>

#include <unordered_map>

#include "engine/inspect/calls/guest_calls.h"
#include "engine/inspect/calls/guest_code.h"
#include "engine/inspect/memory/protection_keys.h"
#include "engine/tree/answers.h"
#include "engine/tree/inner_ids.h"
#include "os/task_memory.h"

namespace upkeep::engine {
namespace {

Result<bool> is_untold(GuestCalls& parent, pid_t child) {
  const std::uint64_t options = WSTOPPED | WNOHANG | WNOWAIT | static_cast<unsigned>(__WALL);
  TRY_ASSIGN(const auto answer,
             parent.call({SYS_waitid, {P_PID, static_cast<std::uint64_t>(child), kAnswerPlace, options}}));
  if (answer.returned() < 0)
    return Err("waitid in its parent: {}", errno_text(static_cast<int>(-answer.returned())));
  TRY_ASSIGN(const auto info, answer.written<siginfo_t>());
  return info.si_pid == child;
}

Result<void> ask(const HeldProcess& parent, const std::vector<Process*>& children, const Snapshot& snapshot) {
  TRY_ASSIGN(const auto memory, os::TaskMemory::open(parent.pid));
  const auto* its = snapshot.find(parent.pid);
  const auto code = find_guest_code(parent.pid, its->memory.mappings, memory);
  std::vector<Obstacle> known;
  if (!code || !may_run_calls(*its, its->threads.front(), *code, known))
    return {};  // it stands in the way already
  TRY_ASSIGN(auto calls, GuestCalls::begin(parent.threads.front().tracee, memory, *code));
  for (auto* child : children) {
    TRY_ASSIGN(child->stopped->stop_untold, is_untold(calls, seen_by(*its, *child)));
  }
  return calls.end();
}

}  // namespace

Result<void> read_untold_stops(const StoppedTree& tree, Snapshot& snapshot) {
  std::unordered_map<pid_t, std::vector<Process*>> stopped;  // by their parents
  for (auto& process : snapshot.processes) {
    if (process.job_stopped && process.stopped) stopped[process.ppid].push_back(&process);
  }
  if (stopped.empty()) return {};
  for (const auto& parent : tree.processes()) {
    const auto children = stopped.find(parent.pid);
    if (children == stopped.end() || parent.zombie) continue;
    TRY_IN(fmt::format("process {}", parent.pid), ask(parent, children->second, snapshot));
  }
  return {};
}

}  // namespace upkeep::engine
