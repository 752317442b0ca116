#include "engine/rebuild/task/controlling_terminal.h"

#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "engine/rebuild/calls/restorer_pidfd.h"
#include "engine/tree/inner_ids.h"

namespace upkeep::engine {
namespace {

// While nothing else is open: the terminal is descriptor 1 for one call.
void call_terminal(Program& program, const Process& process, const TerminalSources& terminals,
                   unsigned long request, const Argument& argument) {
  const auto source = terminals.slaves.find(process.terminal);
  if (source == terminals.slaves.end()) return;
  open_restorer(program, process, terminals.restorer);
  program.call(SYS_pidfd_getfd, {0, source->second, 0});
  program.call(SYS_ioctl, {1, request, argument});
  program.call(SYS_close, {1});
  close_restorer(program, process);
}

}  // namespace

void take_terminal(Program& program, const Process& process, const TerminalSources& terminals) {
  call_terminal(program, process, terminals, TIOCSCTTY, 0);
}

Program compile_terminal(const Process& process, const Snapshot& snapshot, const TerminalSources& terminals) {
  Program program;
  const auto* leader = snapshot.find(process.session);
  if (leader == nullptr || leader->terminal == 0) return program;
  const auto* terminal = snapshot.find_terminal(leader->terminal);
  if (process.terminal == 0) {
    call_terminal(program, *leader, terminals, TIOCNOTTY, 0);
  } else if (&process == leader && terminal != nullptr && terminal->foreground != 0) {
    const auto group = group_seen_by(process, snapshot, terminal->foreground);
    call_terminal(program, process, terminals, TIOCSPGRP, program.value(group));
  }
  return program;
}

}  // namespace upkeep::engine
