#include <unistd.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/journals.h"
#include "report/text.h"

namespace upkeep::cli {
namespace {

int run_history(const Context& context) {
  auto upgrades = read_upgrades(context.state_dir);
  if (!upgrades) return fail(context, upgrades.error());
  if (context.json) {
    auto list = nlohmann::json::array();
    for (const auto& one : *upgrades) list.push_back(report::to_json(one));
    print_json(list);
  } else if (upgrades->empty()) {
    print("No upgrade has been run on this machine yet.\n");
  } else {
    print(report::history_text(*upgrades, report::style_of(STDOUT_FILENO)));
  }
  return kOk;
}

}  // namespace

void add_history(CLI::App& app, Context& context) {
  auto* command =
      add_subcommand(app, context, "history", "list the upgrades of this machine and how they ended",
                     "  upkeep history\n"
                     "  upkeep history --json | jq '.[] | select(.ended_badly) | .message'\n");
  command->callback([&context] { context.run = [&context] { return run_history(context); }; });
}

}  // namespace upkeep::cli
