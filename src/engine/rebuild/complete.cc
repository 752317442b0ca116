#include "engine/rebuild/complete.h"

namespace upkeep::engine {
namespace {

// Kernels before 6.15 count upwards: all timers before the wanted one have to be made and deleted.
constexpr std::int32_t kMostTimersToSkip = 100'000;

Result<void> was_stopped(const Process& process) {
  bool complete = process.stopped.has_value();
  for (const auto& thread : process.threads) complete = complete && thread.stopped;
  if (!complete) return Err("it was not stopped when it was read");
  return {};
}

Result<void> check_mappings(const Process& process) {
  for (const auto& mapping : process.memory.mappings) {
    if (mapping.kind == MappingKind::other) return Err("a mapping of an unknown kind: '{}'", mapping.name);
  }
  return {};
}

Result<void> check_timers(const StoppedProcess& state, bool timer_ids) {
  for (const auto& timer : state.posix_timers) {
    if (!timer_ids && timer.id > kMostTimersToSkip)
      return Err("this kernel cannot give a timer the ID {} (6.15 can)", timer.id);
  }
  return {};
}

}  // namespace

Result<void> check_complete(const Snapshot& snapshot, bool timer_ids) {
  for (const auto& obstacle : snapshot.obstacles)
    return Err("process {}, {}: {}", obstacle.pid, obstacle.what, obstacle.why);
  for (const auto& process : snapshot.processes) {
    if (process.exit_status) continue;
    const auto name = fmt::format("process {}", process.pid);
    TRY_IN(name, was_stopped(process));
    TRY_IN(name, check_mappings(process));
    TRY_IN(name, check_timers(*process.stopped, timer_ids));
  }
  return {};
}

}  // namespace upkeep::engine
