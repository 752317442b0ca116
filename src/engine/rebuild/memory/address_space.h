#pragma once
// An address space: everything that was inherited goes, then the recorded mappings and pages come. Nothing
// but the arena for system calls stays (calls/call_arena.h).

#include <cstdint>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"
#include "engine/rebuild/memory/common_memory.h"
#include "engine/rebuild/memory/kept_key.h"

namespace upkeep::engine {

struct MemorySources {
  std::uint64_t keep_start = 0, keep_end = 0;  // the arena
  int pages = -1;                              // descriptor of process RESTORER: the page contents
  std::int32_t restorer = 0;
  KeptDescriptors kept;
  bool droppable = true;  // the kernel knows MAP_DROPPABLE (6.11)
};
// COMMON: what is there besides the arena, and nothing else is; nullptr: that is not known.
Program compile_memory(const Process& process, const MemorySources& sources,
                       const MappedAlready* common = nullptr);
// In whoever has children with the same mappings, before they are made: these, and which program it runs.
Program compile_common_memory(const Process& process, const MemorySources& sources,
                              const MappedAlready& common);
// In the helper, whose memory is a copy of ours: leaves it behind, all but the arena, which lies from
// KEEP_START to KEEP_END. What is there would be copied for every task. OWN_RSEQ: what libc has registered
// for the helper.
Program compile_emptying(const RestartableSequence& own_rseq, std::uint64_t keep_start,
                         std::uint64_t keep_end);

}  // namespace upkeep::engine
