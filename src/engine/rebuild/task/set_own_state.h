#pragma once
// The program that each thread of a tree runs once everything else is there (own_state.h), with the questions
// of the roll call behind it (roll_call.h).

#include <cstdint>
#include <functional>
#include <set>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/call_arena.h"
#include "engine/rebuild/calls/program.h"
#include "engine/rebuild/task/family.h"
#include "engine/rebuild/task/new_tasks.h"
#include "engine/rebuild/task/roll_call.h"

namespace upkeep::engine {

class OwnStateSetter {
 public:
  // All of these stay where they are. Answers are put into TASKS.
  OwnStateSetter(const Snapshot& snapshot, NewTasks& tasks, const MadeKeys& keys, CallArena& arena)
      : snapshot_(snapshot), tasks_(tasks), keys_(keys), arena_(arena) {}
  // Runs what COMPILE makes of each thread.
  using Compile = std::function<Program(const Process& process, const Thread& thread)>;
  Result<void> set(const Compile& compile);
  // Afterwards. What all threads of a process have a part in, where it has not been asked yet; and keys, by
  // the first process of those that have a keyring, which is the one that will be asked about it.
  Result<void> ask_the_rest();

 private:
  const os::Tracee& thread(const Process& process, std::size_t index) {
    return tasks_.find(process.pid)->threads[index];
  }
  Result<void> set_leaders(bool first, const Compile& compile);
  void ask_made_keys(const Process& process, RollCall& call, Program& program);
  Result<void> add_job(const os::Tracee& task, Program program, RollCall call);

  const Snapshot& snapshot_;
  NewTasks& tasks_;
  const MadeKeys& keys_;
  CallArena& arena_;
  std::set<std::uint32_t> asked_keyrings_;
};

}  // namespace upkeep::engine
