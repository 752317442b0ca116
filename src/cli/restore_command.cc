// upkeep restore ID [--discard]: what to do with images that could not be restored in the new kernel.
// upkeep restore DIR [--stopped]: makes the trees that `upkeep snapshot` has written to DIR.

#include "cli/command.h"
#include "cli/held_connections.h"
#include "cli/journals.h"
#include "engine/trees.h"
#include "jump/new/saved_images.h"
#include "operation/journal.h"

namespace upkeep::cli {
namespace {

struct RestoreOptions {
  std::string id;
  bool discard = false;
  bool stopped = false;
};

int restore_folder(const Context& context, const RestoreOptions& options) {
  HeldConnections connections(options.id);
  auto restored = engine::restore_trees(options.id, options.stopped, connections.hooks());
  if (!restored) return fail(context, restored.error());
  if (context.json)
    print_json({{"roots", restored->roots}, {"pids", restored->pids}});
  else
    print(fmt::format(
        "{} {}: {}\n",
        restored->pids.size() == 1 ? "1 process" : fmt::format("{} processes", restored->pids.size()),
        options.stopped ? "made, stopped" : "running again", fmt::join(restored->pids, " ")));
  return kOk;
}

int run_restore(const Context& context, const RestoreOptions& options) {
  if (engine::is_saved_tree(options.id)) {
    if (options.discard)
      return fail(context, Error("--discard is for upgrades; a folder can simply be removed"));
    return restore_folder(context, options);
  }
  if (options.stopped)
    return fail(context, Error("--stopped is for folders that `upkeep snapshot` has written"));
  // One of those that there are: opening the journal of any other would make it.
  auto upgrade = read_upgrade(context.state_dir, options.id);
  if (!upgrade) return fail(context, upgrade.error());
  const std::string& id = upgrade->id;
  if (options.discard) {
    auto discarded = jump::discard_saved_images(context.state_dir, id);
    if (!discarded) return fail(context, discarded.error());
    if (context.json)
      print_json({{"discarded", id}});
    else
      print(fmt::format("The images of {} are deleted.\n", id));
    return kOk;
  }
  auto journal = operation::Journal::open(context.state_dir, id);
  if (!journal) return fail(context, journal.error());
  auto restored = jump::restore_saved_images(context.state_dir, id, *journal);
  if (!restored) return fail(context, restored.error());
  (void)journal->append(
      {"upgrade_ended", "", "restored by hand", {{"outcome", "upgraded"}, {"exit_code", 0}}});
  if (context.json)
    print_json({{"restored", id}});
  else
    print("The carried tasks run again.\n");
  return kOk;
}

}  // namespace

void add_restore(CLI::App& app, Context& context) {
  auto options = std::make_shared<RestoreOptions>();
  auto* command = add_subcommand(
      app, context, "restore", "restore a snapshot, or try again what the new kernel did not take",
      "  upkeep restore 20261123T151002Z\n  upkeep restore 20261123T151002Z --discard\n"
      "  upkeep restore /var/tmp/worker --stopped\n");
  command->add_option("id", options->id, "the upgrade, or a folder that `upkeep snapshot` has written")
      ->required();
  command->add_flag("--stopped", options->stopped,
                    "leave the tasks of a folder stopped (SIGCONT lets them run)");
  command->add_flag("--discard", options->discard, "delete the images instead");
  command->callback(
      [&context, options] { context.run = [&context, options] { return run_restore(context, *options); }; });
}

}  // namespace upkeep::cli
