#pragma once
// The model compiled to programs, one step of rebuilding at a time. The order of the steps is in rebuild.h.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"
#include "engine/rebuild/files/kept_files.h"
#include "engine/rebuild/memory/common_memory.h"
#include "engine/rebuild/namespaces/namespaces.h"
#include "engine/rebuild/task/inherited.h"
#include "engine/tree/births.h"

namespace upkeep::engine {

// Descriptors of process RESTORER that lead to terminals, by Terminal::device.
struct TerminalSources {
  std::int32_t restorer = 0;
  std::map<std::uint64_t, int> slaves;
};

// compile_tree.cc
// Descriptor 0 becomes one that leads to RESTORER, and is closed again. A process that lives in a PID
// namespace of its own could not name it: there it is open from its birth until compile_descriptors().
void open_restorer(Program& program, const Process& process, std::int32_t restorer);
void close_restorer(Program& program, const Process& process);
// In the helper: leaves our memory behind, all but the workshop, which lies from KEEP_START to KEEP_END: what
// is there would be copied for every task. OWN_RSEQ: what libc has registered for the helper.
Program compile_emptying(const RestartableSequence& own_rseq, std::uint64_t keep_start,
                         std::uint64_t keep_end);
// In the helper: leaves descriptors behind, enters a new time namespace whose clocks stand at CLOCKS, makes
// the roots and those that stand in for leaders of sessions of theirs as its siblings, and ends. OFFSETS:
// what to write to timens_offsets.
Program compile_roots(const Births& births, const std::string& offsets, const Snapshot& snapshot,
                      std::int32_t restorer = 0);
// FLAGS: of clone(2), for those of its children that live where it does.
Program compile_birth(const Birth& birth, const TerminalSources& terminals = {}, std::uint64_t flags = 0);
// In the process whose child it becomes; no other ID is as good where one has to LEAD its session.
Program compile_stand_in_birth(const std::vector<std::int32_t>& ids, bool leads);
Program compile_stand_in(const StandIn& stand_in);  // in the stand-in
Program compile_stand_in_end();
Program compile_farewell(std::int32_t stand_in);  // in its parent: no zombie of it is left
Program compile_adoption(bool adopts);            // whether those below come to it whose parents end
Program compile_group(const Process& process);
Program compile_own_group();                                                  // in who leads it
Program compile_threads(const Process& process);                              // traced, as who makes them is
Program compile_told_of_stop(const Process& parent, const Process& stopped);  // in its parent
Program compile_end(const Process& zombie);
// Whoever has let go of its session's terminal does so, and the leader says which group is in the foreground.
Program compile_terminal(const Process& process, const Snapshot& snapshot, const TerminalSources& terminals);

// compile_memory.cc. KEEP: the workshop, which stays. PAGES, KEPT: descriptors of process RESTORER that hold
// the page contents, and kept files.
struct MemorySources {
  std::uint64_t keep_start = 0, keep_end = 0;
  int pages = -1;
  std::int32_t restorer = 0;
  std::map<KeptKey, int> kept;
  bool droppable = true;  // the kernel knows MAP_DROPPABLE (6.11)
};
// COMMON: what is there besides the workshop, and nothing else is; nullptr: that is not known.
Program compile_memory(const Process& process, const MemorySources& sources,
                       const MappedAlready* common = nullptr);
// In whoever has children with the same mappings, before they are made: these, and which program it runs.
Program compile_common_memory(const Process& process, const MemorySources& sources,
                              const MappedAlready& common);

// compile_files.cc. SOURCES: descriptors of process RESTORER for each of Snapshot::files.
Program compile_descriptors(const Process& process, const std::vector<int>& sources, std::int32_t restorer);

// compile_identity.cc. A keyring is made in the first process that has it, before its children. The keys that
// the first program has added, by their serial numbers in the order of the keyring, then get their owners and
// permissions.
Program compile_join(const Keyring& keyring);
Program compile_keys(const Keyring& keyring);
Program compile_key_owners(const Keyring& keyring, const std::vector<std::int64_t>& serials);
Program compile_login(const Process& process);
Program compile_settings(const Thread& thread);
Program compile_process_settings(const Process& process);
// Filters need CAP_SYS_ADMIN, so they come before the credentials do; those that all
// threads have in common come before the threads.
Program compile_common_filters(const Snapshot& snapshot, const Process& process);
Program compile_filters(const Snapshot& snapshot, const Process& process, const Thread& thread);

// compile_namespaces.cc. The descriptors are process RESTORER's. A user namespace is entered when memory and
// descriptors are there, which need privilege outside of it, and before there are threads, which could not
// follow; with it come the user and groups that the process had outside, and whatever else is no longer
// possible inside.
Program compile_namespaces(const Process& process, const Namespaces& wanted, const MadeNamespaces& namespaces,
                           std::int32_t restorer);
// Before that: a time namespace for children that are still to come, whose offsets can be said from outside.
// Only its maker can be in this relation to it.
Program compile_childrens_time(const Process& process, const MadeNamespaces& namespaces,
                               std::int32_t restorer);
// The PID namespace that its children are born into, when there are threads and descriptors: who has said
// that cannot make threads any more.
Program compile_childrens_pids(const Snapshot& snapshot, const Process& process);
Program compile_user_namespace(const Process& process, const MadeNamespaces& namespaces,
                               std::int32_t restorer);
// One thread, with any ID: no ID can be asked for in a user namespace.
Program compile_any_thread();
Program compile_thread_end();

// compile_state.cc
Program compile_signals(const Process& process, bool timer_ids);  // timer_ids: the kernel takes wanted ones
Program compile_limits(const Process& process);
Program compile_thread(const Process& process, const Thread& thread, const Scheduling* inherited);
// Last, for nothing that needs privilege works after it. IDS: users and groups are set too.
Program compile_credentials(const Process& process, const Thread& thread, bool ids,
                            const Credentials* inherited);
// All of it that a thread does by itself once all tasks are there, as one program: each start and stop of a
// task costs more than most of the calls in it. USER_NAMESPACE: the process lives in one of its own.
struct OwnState {
  bool timer_ids = false, user_namespace = false;
  const Inherited* inherited = nullptr;  // what it has already; nullptr: not known
};
Program compile_own_state(const Snapshot& snapshot, const Process& process, const Thread& thread,
                          OwnState how);
// Parts of these for programs that are put together otherwise.
void add_scheduling(Program& program, const Scheduling& scheduling, const Scheduling* inherited);
void add_limits(Program& program, const Process& process);
void add_ids(Program& program, const Credentials& wanted);

}  // namespace upkeep::engine
