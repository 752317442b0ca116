// upkeep: the exit code. The table of commands is in cli/commands.h.

#include <signal.h>

#include "cli/commands.h"
#include "os/heap.h"

int main(int argc, char** argv) {
  using namespace upkeep::cli;
  ::signal(SIGPIPE, SIG_IGN);
  upkeep::os::grow_heap_in_large_steps();
  return run_commands(argc, argv, kCommands);
}
