// upkeep snapshot PID... [--carry-unit NAME...] -o DIR [--leave-running]: writes trees of processes to a
// folder.

#include <fmt/format.h>

#include "cli/carry_options.h"
#include "cli/command.h"
#include "cli/held_connections.h"
#include "engine/trees.h"

namespace upkeep::cli {
namespace {

struct SnapshotOptions {
  CarryOptions carry;
  std::string folder;
  bool leave_running = false;
};

int run_snapshot(const Context& context, const SnapshotOptions& options) {
  auto roots = options.carry.roots();
  if (!roots) return fail(context, roots.error());
  HeldConnections connections(options.folder);
  auto saved = engine::save_trees(*roots, options.folder, options.leave_running, connections.hooks());
  if (!saved) return fail(context, saved.error());
  if (context.json) {
    print_json({{"pids", saved->pids},
                {"page_bytes", saved->page_bytes},
                {"stopped_ns", saved->stopped_ns},
                {"connections", connections.count()}});
  } else {
    print(fmt::format("{}: processes {}, {:.1f} MiB of memory. They {}.\n", options.folder,
                      fmt::join(saved->pids, " "), static_cast<double>(saved->page_bytes) / (1U << 20U),
                      options.leave_running ? fmt::format("stood still for {:.1f} ms and run on",
                                                          static_cast<double>(saved->stopped_ns) / 1e6)
                                            : "have been ended"));
    if (!connections.table().empty())
      print(fmt::format(
          "{} TCP connections are held until they are restored; `nft delete table inet {}` gives them up.\n",
          connections.count(), connections.table()));
  }
  return kOk;
}

}  // namespace

void add_snapshot(CLI::App& app, Context& context) {
  auto options = std::make_shared<SnapshotOptions>();
  auto* command =
      add_subcommand(app, context, "snapshot", "write trees of processes to a folder, and end them",
                     "  upkeep snapshot 812 -o /var/tmp/worker\n"
                     "  upkeep snapshot 812 -o /var/tmp/worker --leave-running\n");
  command->add_option("pid", options->carry.pids, "processes, each with its whole tree")
      ->check(CLI::PositiveNumber);
  add_carry_unit(*command, options->carry);
  command->add_option("-o,--output", options->folder, "the folder, new or empty")->required();
  command->add_flag("--leave-running", options->leave_running, "let the processes run on");
  command->callback([&context, options] {
    options->carry.require("pid or --carry-unit");
    context.run = [&context, options] { return run_snapshot(context, *options); };
  });
}

}  // namespace upkeep::cli
