#pragma once
// The processes of a tree, made: parents, sessions, process groups, terminals, session keyrings; no threads
// yet, and of their memory what they have in common with their parents.

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/call_arena.h"
#include "engine/rebuild/calls/program.h"
#include "engine/rebuild/task/controlling_terminal.h"
#include "engine/rebuild/task/new_tasks.h"
#include "engine/tree/births.h"
#include "os/ptrace.h"

namespace upkeep::engine {

// Keys that a process has added to its session keyring: their serial numbers, in the order of its model.
using MadeKeys = std::map<std::int32_t, std::vector<std::int64_t>>;  // by PID

class Family {
 public:
  // All of these stay where they are. TASKS: where the processes come in that are part of the tree. OPTIONS
  // of ptrace(2): with which they are traced.
  Family(const Snapshot& snapshot, const Births& births, NewTasks& tasks, CallArena& arena,
         unsigned long options);
  // What a process maps before it makes its children: a program that may be empty.
  using BeforeChildren = std::function<Program(const Process&)>;
  // What each new process is given to. Roots, and stand-ins for leaders of sessions of theirs, are made by
  // the helper; all others by make().
  CallArena::NewTask taker();
  // Afterwards the stand-ins have ended.
  Result<void> make(const TerminalSources& terminals, BeforeChildren before_children);
  // Afterwards. Who is in here has to give them their owners (compile_key_owners()), also where there is
  // none.
  MadeKeys take_keys() { return std::move(keys_); }

 private:
  const os::Tracee& first_thread(const Process& process);
  const os::Tracee& stand_in(std::int32_t id);
  CallArena::Job prepare(const Birth& birth, const TerminalSources& terminals, std::uint64_t flags = 0);
  Result<void> make(const Birth& birth, const TerminalSources& terminals);
  Result<void> make_many(const Birth& birth, const TerminalSources& terminals);
  Result<void> make(const StandIn& wanted);
  using Ids = std::vector<std::int32_t>;  // in all PID namespaces, as wanted_ids() has them
  Result<Ids> make_stand_in(const StandIn& wanted);
  Result<Ids> make_stand_in_with_any_id(const Process& maker);
  Result<void> end_stand_in(const Ids& ids, const Process* maker);
  Program keyring_program(const Process& process);
  Result<void> set_groups();
  Result<void> set_terminals(const TerminalSources& terminals);

  const Snapshot& snapshot_;
  const Births& births_;
  NewTasks& tasks_;
  CallArena& arena_;
  unsigned long options_;
  NewTasks stand_ins_;
  BeforeChildren before_children_;
  std::set<std::int32_t> needed_ids_;        // by the tree, when they are asked for
  std::int32_t next_id_ = 0;                 // to be tried for one that may have any
  std::set<std::uint32_t> common_keyrings_;  // of many roots
  std::set<std::uint32_t> filled_keyrings_;  // those among them that have their keys
  MadeKeys keys_;
};

}  // namespace upkeep::engine
