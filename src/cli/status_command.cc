#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/follow.h"
#include "cli/journals.h"
#include "os/procfs.h"
#include "report/text.h"

namespace upkeep::cli {
namespace {

int exit_code_of(const report::Summary& summary) {
  return report::ended_badly(summary.outcome) ? kFailed : kOk;
}

int show_none(const Context& context) {
  if (context.json) {
    print_json({{"running", false}, {"kernel", os::kernel_release()}, {"upgrade", nullptr}});
  } else {
    print(fmt::format("This machine runs {}. No upgrade has been run on it yet.\n", os::kernel_release()));
  }
  return kOk;
}

int show(const Context& context, const report::Summary& summary) {
  const bool running = summary.outcome == report::Outcome::running;
  if (context.json) {
    print_json(
        {{"running", running}, {"kernel", os::kernel_release()}, {"upgrade", report::to_json(summary)}});
  } else {
    print(report::summary_text(summary, report::style_of(STDOUT_FILENO)));
    if (running) print("  Follow it: upkeep status --wait\n");
    // What the upgrade left behind, unless somebody has booted something else since.
    const auto kernel = os::kernel_release();
    if (kernel != summary.from && kernel != summary.to) {
      print(fmt::format("  At the moment this machine runs {}.\n", kernel));
    }
  }
  return exit_code_of(summary);
}

int run_status(const Context& context, bool wait) {
  auto upgrades = read_upgrades(context.state_dir);
  if (!upgrades) return fail(context, upgrades.error());
  if (upgrades->empty()) return show_none(context);
  const auto& newest = upgrades->back();
  if (!wait || newest.outcome != report::Outcome::running) return show(context, newest);
  auto ended = follow_upgrade(context, newest.id);
  if (!ended) return fail(context, ended.error());
  return show(context, *ended);
}

}  // namespace

void add_status(CLI::App& app, Context& context) {
  auto wait = std::make_shared<bool>(false);
  auto* command = add_subcommand(app, context, "status", "show the upgrade that is running, or the last one",
                                 "  upkeep status\n"
                                 "  upkeep status --wait          # follow it to its end\n"
                                 "  upkeep status --json | jq -r .upgrade.outcome\n");
  command->add_flag("--wait", *wait, "tell what happens until it has ended");
  command->callback(
      [&context, wait] { context.run = [&context, wait] { return run_status(context, *wait); }; });
}

}  // namespace upkeep::cli
