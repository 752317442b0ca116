// upkeep worker, recover, settle: the parts of an upgrade that systemd starts, not people (recover may be
// called by both).

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/operations.h"
#include "jump/new/settle.h"
#include "operation/undo.h"
#include "operation/worker.h"

namespace upkeep::cli {

void add_worker(CLI::App& app, Context& context) {
  auto id = std::make_shared<std::string>();
  auto* command = add_subcommand(app, context, "worker",
                                 "carries out a planned upgrade (started by `upkeep upgrade`)", "");
  command->group("");  // not in --help
  command->add_option("id", *id, "the upgrade")->required();
  command->callback([&context, id] {
    context.run = [&context, id] {
      auto plan = operation::load_plan(context.state_dir, *id);
      return plan ? operation::run_worker(*plan, known_operations()) : fail(context, plan.error());
    };
  });
}

void add_recover(CLI::App& app, Context& context) {
  auto id = std::make_shared<std::string>();
  auto* command =
      add_subcommand(app, context, "recover", "undoes an upgrade whose process was killed, from its journal",
                     "  upkeep recover\n");
  command->add_option("id", *id, "the upgrade; all unfinished ones where it is not given");
  command->callback([&context, id] {
    context.run = [&context, id] {
      Result<std::vector<std::string>> recovered = std::vector<std::string>();
      if (id->empty()) {
        recovered = operation::recover_all(context.state_dir, known_operations());
      } else {
        auto undone = operation::recover(context.state_dir, *id, known_operations());
        if (!undone) return fail(context, undone.error());
        if (*undone) recovered->push_back(*id);
      }
      if (!recovered) return fail(context, recovered.error());
      if (context.json)
        print_json({{"recovered", *recovered}});
      else if (recovered->empty())
        print("Nothing to recover.\n");
      else
        print(fmt::format("Undone: {}\n", fmt::join(*recovered, ", ")));
      return kOk;
    };
  });
}

void add_settle(CLI::App& app, Context& context) {
  auto* command = add_subcommand(app, context, "settle",
                                 "ends an upgrade in the new kernel (started by upkeep-settle.service)", "");
  command->group("");
  command->callback([&context] {
    context.run = [&context] {
      auto settled = jump::settle();
      return settled ? kOk : fail(context, settled.error());
    };
  });
}

}  // namespace upkeep::cli
