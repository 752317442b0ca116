#pragma once
// The model compiled to programs, one step of rebuilding at a time. The order of the steps is in rebuild.h.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "engine/native/rebuild/program.h"

namespace upkeep::native {

// How the tree comes up: a process is made by its parent while that is still in the session that it was born
// into, or after setsid(2). The error names what no order of calls can make.
struct Birth {
  const Process* process = nullptr;
  std::vector<const Process*> before_setsid, after_setsid;  // its children
};
Result<std::vector<Birth>> plan_births(const Snapshot& snapshot);  // parents before children

// Descriptors of process RESTORER that lead to terminals, by Terminal::device.
struct TerminalSources {
  std::int32_t restorer = 0;
  std::map<std::uint64_t, int> slaves;
};

// compile_tree.cc
// In the helper: leaves what it has inherited behind, enters a new time namespace whose clocks stand at
// CLOCKS, makes the roots as its siblings, and ends. OFFSETS: what to write to timens_offsets. OWN_RSEQ: what
// libc has registered for the helper, whose address goes away with our memory.
Program compile_roots(const std::vector<const Process*>& roots, const RestartableSequence& own_rseq,
                      const std::string& offsets);
Program compile_birth(const Birth& birth, const TerminalSources& terminals = {});
Program compile_group(const Process& process);
Program compile_threads(const Process& process);
Program compile_end(const Process& zombie);
// Whoever has let go of its session's terminal does so, and the leader says which group is in the foreground.
Program compile_terminal(const Process& process, const Snapshot& snapshot, const TerminalSources& terminals);

// compile_memory.cc. KEEP: the workshop, which stays. PAGES: path of the page contents. SHARED: descriptors
// of process RESTORER that hold shared memory, by inode.
struct MemorySources {
  std::uint64_t keep_start = 0, keep_end = 0;
  std::string pages;
  std::int32_t restorer = 0;
  std::map<std::uint64_t, int> shared;
};
Program compile_memory(const Process& process, const MemorySources& sources);

// compile_files.cc. SOURCES: descriptors of process RESTORER for each of Snapshot::files.
Program compile_descriptors(const Process& process, const std::vector<int>& sources, std::int32_t restorer);
Program compile_watches(const Snapshot& snapshot, const Process& process);  // entries of epoll sets

// compile_state.cc
Program compile_signals(const Process& process, bool timer_ids);  // timer_ids: the kernel takes wanted ones
Program compile_thread(const Process& process, const Thread& thread);
// Last, for nothing that needs privilege works after it.
Program compile_credentials(const Process& process, const Thread& thread);

}  // namespace upkeep::native
