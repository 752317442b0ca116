#pragma once
// The table of all subcommands, in the order of `upkeep --help`.

#include <array>

#include "cli/command.h"

namespace upkeep::cli {

void add_check(CLI::App& app, Context& context);
void add_upgrade(CLI::App& app, Context& context);
void add_status(CLI::App& app, Context& context);
void add_history(CLI::App& app, Context& context);
void add_report(CLI::App& app, Context& context);
void add_restore(CLI::App& app, Context& context);
void add_recover(CLI::App& app, Context& context);
void add_worker(CLI::App& app, Context& context);
void add_settle(CLI::App& app, Context& context);
void add_inspect(CLI::App& app, Context& context);
void add_snapshot(CLI::App& app, Context& context);

inline constexpr std::array<AddCommand, 11> kCommands = {add_check,  add_upgrade, add_status,  add_history,
                                                         add_report, add_restore, add_recover, add_worker,
                                                         add_settle, add_inspect, add_snapshot};

}  // namespace upkeep::cli
