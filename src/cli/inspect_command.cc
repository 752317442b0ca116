// upkeep inspect PID... [--carry-unit NAME...]: what a running tree consists of, as the native engine sees
// it.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/carry_options.h"
#include "cli/command.h"
#include "engine/trees.h"

namespace upkeep::cli {
namespace {

using engine::Process;
using engine::Snapshot;

struct InspectOptions {
  CarryOptions carry;
  bool no_stop = false;
};

std::string size_text(std::uint64_t bytes) {
  if (bytes >= 1U << 30U) return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1U << 30U));
  if (bytes >= 1U << 20U) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1U << 20U));
  return fmt::format("{} KiB", bytes >> 10U);
}

std::string memory_text(const Process& process) {
  std::uint64_t mapped = 0, pages = 0;
  for (const auto& mapping : process.memory.mappings) mapped += mapping.length();
  for (const auto& run : process.memory.pages) pages += run.count;
  auto text = fmt::format("{} mappings, {}", process.memory.mappings.size(), size_text(mapped));
  if (process.stopped)
    text += fmt::format(", of which {} are pages of its own", size_text(pages * engine::kPage));
  return text;
}

std::string timers_text(const Process& process) {
  if (!process.stopped) return "";
  std::size_t running = 0, handled = 0;
  for (const auto& timer : process.stopped->interval_timers) running += timer.value != 0 ? 1 : 0;
  for (const auto& action : process.stopped->actions) handled += action.handler > 1 ? 1 : 0;
  return fmt::format("  signals  {} handled, {} pending; {} interval timers, {} POSIX timers\n", handled,
                     process.stopped->pending.size(), running, process.stopped->posix_timers.size());
}

std::string socket_text(const engine::Socket& socket) {
  std::string text;
  if (socket.journal) {
    const auto& journal = *socket.journal;
    text = fmt::format(" to systemd-journald, for {} as '{}', priority {}",
                       journal.unit.empty() ? "no unit" : journal.unit, journal.identifier, journal.priority);
  } else if (constexpr int kUnix = 1; socket.family == kUnix) {
    if (const auto own = engine::unix_name(socket.local); !own.empty()) text += " " + escape(own);
    if (const auto its = engine::unix_name(socket.remote); !its.empty()) text += " to " + escape(its);
  }
  return text;
}

std::string descriptor_text(const Snapshot& snapshot, const engine::Descriptor& descriptor) {
  const auto& file = snapshot.files[descriptor.file];
  auto text = fmt::format("  fd {:5}  {}", descriptor.fd, file.name);
  if (file.path && file.position != 0) text += fmt::format(" at {}", file.position);
  if (file.pipe && !file.pipe->data.data.empty())
    text += fmt::format(", {} bytes unread", file.pipe->data.data.size());
  if (file.socket) text += socket_text(*file.socket);
  if (file.eventfd) text += fmt::format(", counter {}", file.eventfd->count);
  if (file.epoll) text += fmt::format(", {} watched", file.epoll->watches.size());
  return text + (descriptor.close_on_exec ? " (closed on exec)\n" : "\n");
}

std::string process_text(const Snapshot& snapshot, const Process& process) {
  auto text = fmt::format("{} {}\n  parent {}, group {}, session {}", process.pid, process.command,
                          process.ppid, process.pgrp, process.session);
  if (process.exit_status) return text + fmt::format(", a zombie with status {}\n", *process.exit_status);
  const auto& credentials = process.threads.front().credentials;
  text += fmt::format(", uid {}, gid {}{}\n", credentials.euid, credentials.egid,
                      process.job_stopped ? ", stopped by job control" : "");
  text += "  threads ";
  for (const auto& thread : process.threads) text += fmt::format(" {} ({})", thread.tid, thread.comm);
  text += fmt::format("\n  memory   {}\n", memory_text(process)) + timers_text(process);
  for (const auto& descriptor : process.descriptors) text += descriptor_text(snapshot, descriptor);
  return text;
}

std::string snapshot_text(const engine::Inspected& inspected) {
  const auto& snapshot = inspected.snapshot;
  std::string text;
  for (const auto& process : snapshot.processes) text += process_text(snapshot, process);
  for (const auto& obstacle : snapshot.obstacles) {
    text += fmt::format("cannot be carried: {}, {}: {}\n", obstacle.pid, obstacle.what, obstacle.why);
    if (!obstacle.remedy.empty()) text += fmt::format("  -> {}\n", obstacle.remedy);
  }
  for (const auto& loss : snapshot.losses)
    text += fmt::format("not carried along: {}, {}: {}; {}\n", loss.pid, loss.what, loss.why, loss.remedy);
  if (inspected.stopped_ns != 0)
    text += fmt::format("It stood still for {:.1f} ms.\n", static_cast<double>(inspected.stopped_ns) / 1e6);
  return text;
}

int run_inspect(const Context& context, const InspectOptions& options) {
  auto roots = options.carry.roots();
  if (!roots) return fail(context, roots.error());
  auto inspected = engine::inspect_trees(*roots, !options.no_stop);
  if (!inspected) return fail(context, inspected.error());
  if (context.json) {
    auto json = engine::to_json(inspected->snapshot);
    json["stopped_ns"] = inspected->stopped_ns;
    print_json(json);
  } else {
    print(snapshot_text(*inspected));
  }
  return kOk;
}

}  // namespace

void add_inspect(CLI::App& app, Context& context) {
  auto options = std::make_shared<InspectOptions>();
  auto* command = add_subcommand(app, context, "inspect", "show what a running tree of processes consists of",
                                 "  upkeep inspect 812\n  upkeep inspect --no-stop --json 812 | jq .files\n");
  command->add_option("pid", options->carry.pids, "processes, each with its whole tree")
      ->check(CLI::PositiveNumber);
  add_carry_unit(*command, options->carry);
  command->add_flag("--no-stop", options->no_stop, "read only what needs no stop");
  command->callback([&context, options] {
    options->carry.require("pid or --carry-unit");
    context.run = [&context, options] { return run_inspect(context, *options); };
  });
}

}  // namespace upkeep::cli
