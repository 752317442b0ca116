#pragma once
// Processes on the command line: by PID, or by the unit that they run in.

#include <memory>

#include "cli/command.h"

namespace upkeep::cli {

struct CarryOptions {
  std::vector<pid_t> pids;
  std::vector<std::string> units;

  // In the callback of a command line that has to name something: CLI::RequiredError where it does not.
  void require(const std::string& names) const;
  // All of them, units looked up.
  Result<std::vector<pid_t>> roots() const;
};

// Adds --carry-unit.
void add_carry_unit(CLI::App& command, CarryOptions& options);

}  // namespace upkeep::cli
