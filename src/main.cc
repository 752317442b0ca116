// upkeep: global options, the table of commands, the exit code.

#include <signal.h>

#include <array>

#include "cli/command.h"
#include "os/heap.h"

namespace upkeep::cli {

void add_check(CLI::App& app, Context& context);
void add_upgrade(CLI::App& app, Context& context);
void add_restore(CLI::App& app, Context& context);
void add_recover(CLI::App& app, Context& context);
void add_worker(CLI::App& app, Context& context);
void add_settle(CLI::App& app, Context& context);
void add_inspect(CLI::App& app, Context& context);
void add_snapshot(CLI::App& app, Context& context);

}  // namespace upkeep::cli

int main(int argc, char** argv) {
  using namespace upkeep::cli;
  ::signal(SIGPIPE, SIG_IGN);
  upkeep::os::grow_heap_in_large_steps();
  constexpr std::array<AddCommand, 11> kCommands = {add_check,  add_upgrade, add_status,  add_history,
                                                    add_report, add_restore, add_recover, add_worker,
                                                    add_settle, add_inspect, add_snapshot};
  return run_commands(argc, argv, kCommands);
}
