#include "cli/carry_options.h"

#include "systemd/unit_processes.h"

namespace upkeep::cli {

Result<std::vector<pid_t>> CarryOptions::roots() const {
  auto all = pids;
  for (const auto& unit : units) {
    TRY_ASSIGN(const auto found, systemd::roots_of_unit(unit, systemd::unified_hierarchy()));
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

void CarryOptions::require(const std::string& names) const {
  if (pids.empty() && units.empty()) throw CLI::RequiredError(names);
}

void add_carry_unit(CLI::App& command, CarryOptions& options) {
  command.add_option("--carry-unit", options.units,
                     "units of systemd, each with all processes of its cgroup");
}

}  // namespace upkeep::cli
