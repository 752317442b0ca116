#pragma once
// Processes made by their parents, and the ends of those that had ended: engine/tree/births.h says who makes
// whom.

#include <cstdint>
#include <string>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"
#include "engine/rebuild/task/controlling_terminal.h"
#include "engine/tree/births.h"

namespace upkeep::engine {

// In the helper: closes all descriptors, enters a new time namespace, makes the roots and those that stand in
// for leaders of sessions of theirs as its siblings, and ends. OFFSETS: what to write to timens_offsets;
// empty: no time namespace.
Program compile_roots(const Births& births, const std::string& offsets, const Snapshot& snapshot,
                      std::int32_t restorer = 0);
// In BIRTH.process: makes its children, its session, and takes that one's terminal. FLAGS: of clone(2), for
// those of its children that live where it does.
Program compile_birth(const Birth& birth, const TerminalSources& terminals = {}, std::uint64_t flags = 0);
// In a process that is to be a zombie: it ends as it ended.
Program compile_end(const Process& zombie);

}  // namespace upkeep::engine
