// upkeep snapshot PID... -o DIR [--leave-running]: writes trees of processes to a folder.

#include <fmt/format.h>

#include "cli/command.h"
#include "engine/native/trees.h"

namespace upkeep::cli {
namespace {

struct Options {
  std::vector<pid_t> pids;
  std::string folder;
  bool leave_running = false;
};

int run_snapshot(const Context& context, const Options& options) {
  auto saved = native::save_trees(options.pids, options.folder, options.leave_running);
  if (!saved) return fail(context, saved.error());
  if (context.json) {
    print_json({{"pids", saved->pids}, {"page_bytes", saved->page_bytes}, {"stopped_ns", saved->stopped_ns}});
  } else {
    print(fmt::format("{}: processes {}, {:.1f} MiB of memory. They {}.\n", options.folder,
                      fmt::join(saved->pids, " "), static_cast<double>(saved->page_bytes) / (1U << 20U),
                      options.leave_running ? fmt::format("stood still for {:.1f} ms and run on",
                                                          static_cast<double>(saved->stopped_ns) / 1e6)
                                            : "have been ended"));
  }
  return kOk;
}

}  // namespace

void add_snapshot(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  auto* command =
      add_subcommand(app, context, "snapshot", "write trees of processes to a folder, and end them",
                     "  upkeep snapshot 812 -o /var/tmp/worker\n"
                     "  upkeep snapshot 812 -o /var/tmp/worker --leave-running\n");
  command->add_option("pid", options->pids, "processes, each with its whole tree")
      ->required()
      ->check(CLI::PositiveNumber);
  command->add_option("-o,--output", options->folder, "the folder, new or empty")->required();
  command->add_flag("--leave-running", options->leave_running, "let the processes run on");
  command->callback(
      [&context, options] { context.run = [&context, options] { return run_snapshot(context, *options); }; });
}

}  // namespace upkeep::cli
