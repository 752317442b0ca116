#include "cli/command.h"

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "os/file.h"

namespace upkeep::cli {
namespace {

constexpr const char* kDescription =
    "Changes the kernel of this machine while it runs. What is carried keeps its memory, open files and\n"
    "connections; to those who use it nothing happened but a brief pause.";

constexpr const char* kFooter =
    "\nExamples:\n"
    "  upkeep check --to 7.3.4-cloud-amd64 --carry $(pidof redis-server)\n"
    "  upkeep upgrade --to 7.3.4-cloud-amd64 --carry $(pidof redis-server)\n"
    "  upkeep status --wait\n"
    "\nEach command has its own --help and its own manual page, for example upkeep-upgrade(8).";

bool wants_json(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--json") return true;
  }
  return false;
}

int usage_error(const CLI::App& app, const CLI::ParseError& error, bool json) {
  if (json) {
    print_json({{"error", error.what()}, {"usage", true}});
    return kUsage;
  }
  std::string command = "upkeep";
  for (const auto* chosen : app.get_subcommands()) command += " " + chosen->get_name();
  (void)os::write_all(os::Fd(STDERR_FILENO),
                      fmt::format("upkeep: {}\nTry '{} --help'.\n", error.what(), command));
  return kUsage;
}

}  // namespace

CLI::App* add_subcommand(CLI::App& app, Context& context, const std::string& name, const std::string& summary,
                         const std::string& examples) {
  CLI::App* sub = app.add_subcommand(name, summary);
  if (!examples.empty()) sub->footer("\nExamples:\n" + examples + "\nMore in upkeep-" + name + "(8).");
  sub->add_flag("--json", context.json, "print one JSON value instead of text");
  sub->add_flag("-q,--quiet", context.quiet, "no progress");
  sub->add_option("--state-dir", context.state_dir, "where journals are kept")->capture_default_str();
  return sub;
}

int run_commands(int argc, const char* const* argv, std::span<const AddCommand> commands) {
  Context context;
  CLI::App app(kDescription, "upkeep");
  app.set_version_flag("--version", std::string("upkeep ") + UPKEEP_VERSION);
  app.footer(kFooter);
  app.get_formatter()->column_width(34);
  app.require_subcommand(1);
  for (AddCommand add : commands) add(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for_help) {
    return app.exit(asked_for_help);
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error, wants_json(argc, argv));
  }
  return context.run ? context.run() : kUsage;
}

int fail(const Context& context, const Error& error) {
  if (context.json) {
    print_json({{"error", error.message()}});
  } else {
    (void)os::write_all(os::Fd(STDERR_FILENO), "upkeep: " + error.message() + "\n");
  }
  return kFailed;
}

void print(std::string_view text) { (void)os::write_all(os::Fd(STDOUT_FILENO), text); }

void print_json(const nlohmann::json& json) {
  // Names of processes need not be UTF-8; JSON must.
  print(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace upkeep::cli
