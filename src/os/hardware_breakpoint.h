#pragma once
// Breakpoints of the processor's debug registers (PTRACE_POKEUSER, ptrace(2)).

namespace upkeep::os {

// Whether they stop a task here: found once, by setting one. Some virtual machines take the registers and
// never trap (seen in a Firecracker guest), and whoever waits for such a trap waits for ever.
bool hardware_breakpoints_work();

}  // namespace upkeep::os
