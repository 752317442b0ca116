#pragma once
// The processes of a tree, made: parents, sessions, process groups, terminals, session keyrings. No memory,
// no threads yet.

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "common/result.h"
#include "engine/native/model/births.h"
#include "engine/native/rebuild/compile.h"
#include "engine/native/rebuild/rebuild.h"
#include "engine/native/rebuild/workshop.h"
#include "os/ptrace.h"

namespace upkeep::native {

// Keys that a process has added to its session keyring: their serial numbers, in the order of its model.
using MadeKeys = std::map<std::int32_t, std::vector<std::int64_t>>;  // by PID

class Family {
 public:
  // All of these stay where they are. TASKS: where the processes come in that are part of the tree.
  Family(const Snapshot& snapshot, const Births& births, NewTasks& tasks, Workshop& shop);
  // What each new process is given to. Roots, and stand-ins for leaders of sessions of theirs, are made by
  // the helper; all others by make().
  Workshop::NewTask taker();
  // Afterwards the stand-ins have ended.
  Result<void> make(const TerminalSources& terminals);
  // Afterwards. Who is in here has to give them their owners (compile_key_owners()), also where there is
  // none.
  MadeKeys take_keys() { return std::move(keys_); }

 private:
  const os::Tracee& first_thread(const Process& process);
  const os::Tracee& stand_in(std::int32_t id);
  Workshop::Job prepare(const Birth& birth, const TerminalSources& terminals);
  Result<void> make(const Birth& birth, const TerminalSources& terminals);
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
  Workshop& shop_;
  NewTasks stand_ins_;
  std::set<std::int32_t> needed_ids_;        // by the tree, when they are asked for
  std::int32_t next_id_ = 0;                 // to be tried for one that may have any
  std::set<std::uint32_t> common_keyrings_;  // of many roots
  std::set<std::uint32_t> filled_keyrings_;  // those among them that have their keys
  MadeKeys keys_;
};

}  // namespace upkeep::native
