#pragma once
// How a subcommand is made. Each has a file of its own with one function
//
//   void add_history(CLI::App& app, Context& context);
//
// that adds it to the command line; parsing it sets `context.run`, which does the work and returns the exit
// code: 0 all is well, 1 it is not, 2 the command line was wrong. The table of all of them is in commands.h.

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "common/result.h"

namespace upkeep::cli {

inline constexpr int kOk = 0, kFailed = 1, kUsage = 2;

// What every subcommand may be given, and what it leaves behind for main().
struct Context {
  bool json = false;   // standard output is one JSON value (progress and warnings go to standard error)
  bool quiet = false;  // no progress
  std::string state_dir = "/var/lib/upkeep";
  std::function<int()> run;  // set by the subcommand that was chosen
};

using AddCommand = void (*)(CLI::App& app, Context& context);

// Adds a subcommand with the options that all of them have (--json, --quiet, --state-dir). EXAMPLES end its
// --help.
CLI::App* add_subcommand(CLI::App& app, Context& context, const std::string& name, const std::string& summary,
                         const std::string& examples);

// The whole of main(): parses, runs, returns the exit code. SIGPIPE must already be ignored.
int run_commands(int argc, const char* const* argv, std::span<const AddCommand> commands);

// Says what went wrong ("upkeep: ...", or {"error": ...} with --json), and returns kFailed.
int fail(const Context& context, const Error& error);

void print(std::string_view text);  // to standard output, whole, whatever stdio has in its buffer
void print_json(const nlohmann::json& json);

}  // namespace upkeep::cli
