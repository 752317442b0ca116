#include "systemd/transient_service.h"

#include <fmt/ranges.h>

#include "os/child.h"

namespace upkeep::systemd {

Result<void> start_transient(const TransientService& service) {
  std::vector<std::string> argv = {"systemd-run", "--quiet", "--collect", "--unit=" + service.name};
  // Children end themselves; nobody is killed because time is over.
  for (const char* property : {"KillMode=process", "OOMScoreAdjust=-1000", "TimeoutStopSec=infinity"}) {
    argv.emplace_back("-p");
    argv.emplace_back(property);
  }
  if (!service.after_stop.empty()) {
    argv.emplace_back("-p");
    argv.push_back(fmt::format("ExecStopPost={}", fmt::join(service.after_stop, " ")));
  }
  argv.emplace_back("--");
  argv.insert(argv.end(), service.command.begin(), service.command.end());
  TRY(os::run_checked(argv));
  return {};
}

}  // namespace upkeep::systemd
