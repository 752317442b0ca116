// upkeep upgrade --to KERNEL (--carry PID... | --carry-unit NAME...): checks, asks, starts the worker, and
// tells what it does.

#include <signal.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "cli/carry_options.h"
#include "cli/command.h"
#include "cli/follow.h"
#include "cli/operations.h"
#include "jump/old/check.h"
#include "jump/request.h"
#include "operation/lock.h"
#include "operation/undo.h"
#include "operation/worker.h"
#include "os/file.h"
#include "report/text.h"
#include "systemd/transient_service.h"
#include "systemd/units.h"

namespace upkeep::cli {
namespace {

struct UpgradeOptions {
  operation::Plan plan;
  jump::Request request;
  CarryOptions carry;
  bool yes = false;
};

std::string announcement(const jump::CheckReport& report, bool dry_run) {
  std::string text =
      fmt::format("Kernel {} -> {}.\nCarried on:\n", os::kernel_release(), report.target->release);
  std::vector<std::string> units;
  for (const auto& tree : report.set.trees) {
    text += fmt::format("  {:>7}  {}{}  ({} {})\n", tree.root, tree.command,
                        tree.unit.empty() ? "" : " [" + tree.unit + "]", tree.tasks.size(),
                        tree.tasks.size() == 1 ? "task" : "tasks");
    if (!tree.unit.empty()) units.push_back(tree.unit);
  }
  if (auto running = systemd::running_services(); systemd::systemd_is_running() && running) {
    const auto stopped = systemd::to_stop(*running, units);
    text += stopped.empty() ? "No other service has to be stopped.\n"
                            : fmt::format("Not carried; stopped before and started again after: {}\n",
                                          fmt::join(stopped, " "));
  }
  text += dry_run ? "This is a dry run: the services above really stop for a moment, and the carried "
                    "tasks pause as long as a snapshot takes;\n"
                    "then everything is undone and nothing has changed.\n"
                  : "Whatever else runs (logins, shells, agents) ends with the jump, as in a restart.\n";
  return text;
}

// Reads the answer from the terminal; without one the question cannot be asked, and the answer is --yes or
// no.
Result<bool> confirmed() {
  if (::isatty(STDIN_FILENO) == 0) return Err("there is no terminal to ask on; say --yes if this is wanted");
  print("Go on? [y/N] ");
  char answer[16] = {};
  const ssize_t n = ::read(STDIN_FILENO, answer, sizeof answer - 1);
  return n > 0 && (answer[0] == 'y' || answer[0] == 'Y');
}

// Ctrl-C here asks the worker to stop and undo; a terminal that goes away does not.
void forward_interrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGHUP, SIG_IGN);
  std::thread([signals] {
    for (;;) {
      int signal = 0;
      ::sigwait(&signals, &signal);
      const int worker = operation::machine_lock_holder();
      if (worker > 0) ::kill(worker, SIGINT);
    }
  }).detach();
}

// systemd, where it runs: so that undo runs by itself when the worker is killed.
operation::ServiceStarter service_starter() {
  if (!systemd::systemd_is_running()) return {};
  return [](const operation::WorkerService& service) {
    return systemd::start_transient({service.name, service.command, service.after_stop});
  };
}

// The summary, in the form asked for; the exit code.
int tell(const Context& context, const report::Summary& summary) {
  if (context.json)
    print_json(report::to_json(summary));
  else
    print(report::summary_text(summary, report::style_of(STDOUT_FILENO)));
  return report::ended_badly(summary.outcome) ? kFailed : kOk;
}

int run_upgrade(const Context& context, UpgradeOptions& options) {
  auto& plan = options.plan;
  plan.kind = "upgrade";
  plan.state_dir = context.state_dir;
  auto roots = options.carry.roots();
  if (!roots) return fail(context, roots.error());
  options.request.carry = std::move(*roots);
  plan.request = to_json(options.request);
  if (::geteuid() == 0) {
    auto recovered = operation::recover_all(context.state_dir, known_operations());
    if (!recovered)
      return fail(context, std::move(recovered).error().in("undoing an upgrade that was killed"));
    for (const auto& id : *recovered) {
      if (!context.json) print(fmt::format("Upgrade {} had been killed; it is undone now.\n", id));
    }
  }
  const auto report = jump::check_machine({options.request.loads.next, options.request.carry});
  if (!report.possible())
    return fail(context, Error(report.first_refusal() + "; `upkeep check` says it all"));
  if (const int holder = operation::machine_lock_holder(); holder != 0) {
    return fail(
        context,
        Error(fmt::format("another upgrade is under way (process {}); follow it with `upkeep status --wait`",
                          holder)));
  }
  if (!context.json && !context.quiet) print(announcement(report, plan.dry_run));
  if (!options.yes) {
    auto answer = confirmed();
    if (!answer) return fail(context, answer.error());
    if (!*answer) {
      print("Nothing was done.\n");
      return kOk;
    }
  }
  plan.id = operation::new_id();
  if (auto saved = operation::save_plan(plan); !saved) return fail(context, saved.error());
  forward_interrupts();
  auto program = os::read_link("/proc/self/exe");
  if (!program) return fail(context, program.error());
  if (auto started = operation::start_worker(plan, *program, service_starter()); !started)
    return fail(context, started.error());
  auto summary = follow_upgrade(context, plan.id);
  if (!summary) return fail(context, summary.error());
  return tell(context, *summary);
}

}  // namespace

void add_upgrade(CLI::App& app, Context& context) {
  auto options = std::make_shared<UpgradeOptions>();
  auto* command = add_subcommand(
      app, context, "upgrade", "change the kernel and carry tasks across",
      "  upkeep upgrade --to 7.3 --carry $(pidof redis-server)\n"
      "  upkeep upgrade --to 7.3 --carry 812 --dry-run   # everything up to the jump, then undone\n");
  command
      ->add_option("--to", options->request.loads.next,
                   "the kernel to go to: a release, a series such as 6.12, or a path")
      ->required();
  command->add_option("--carry", options->carry.pids, "processes to carry, each with its whole tree")
      ->check(CLI::PositiveNumber);
  add_carry_unit(*command, options->carry);
  command
      ->add_option("--deadline", options->plan.deadline_s,
                   "seconds from the first stop to the jump; over: everything is undone")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_flag("--dry-run", options->plan.dry_run,
                    "do everything up to the jump, undo it, and say how long the window would have been");
  command->add_flag("-y,--yes", options->yes, "do not ask");
  command->callback([&context, options] {
    options->carry.require("--carry or --carry-unit");
    context.run = [&context, options] { return run_upgrade(context, *options); };
  });
}

}  // namespace upkeep::cli
