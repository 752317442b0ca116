#pragma once
// Controlling terminals of sessions, and which process group is in the foreground: ioctl_tty(2).

#include <cstdint>
#include <map>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"

namespace upkeep::engine {

// Descriptors of process RESTORER that lead to terminals, by Terminal::device.
struct TerminalSources {
  std::int32_t restorer = 0;
  std::map<std::uint64_t, int> slaves;
};

// In the leader of a session that has just been made: takes its terminal, which all have that it makes from
// then on. Nothing is open.
void take_terminal(Program& program, const Process& process, const TerminalSources& terminals);
// When all process groups are there: whoever has let go of its session's terminal does so, and the leader
// says which group is in the foreground.
Program compile_terminal(const Process& process, const Snapshot& snapshot, const TerminalSources& terminals);

}  // namespace upkeep::engine
