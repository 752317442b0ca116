#pragma once
// systemd's units, through systemctl: which run, which are stopped before the window, which are started again
// after it. How a unit finds its carried process: adoption.h.

#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::systemd {

bool systemd_is_running();
// Running services that can be started again; names with ".service". Transient ones (systemd-run) are left
// out: stopping one would be the end of it, so like logins they end with the jump and not before.
Result<std::vector<std::string>> running_services();
Result<std::vector<std::string>> parse_unit_list(const std::string& text);
// Of `systemctl show -p Id -p FragmentPath`'s output, the units that have a file of their own: neither
// transient nor gone meanwhile.
std::vector<std::string> lasting_units(const std::string& text);
// Of RUNNING those that are stopped before the window: not the ones that carry tasks, and not the few that
// the machine needs until the jump (journald, udevd, dbus, logind, networkd, resolved, sshd, consoles, upkeep
// itself).
std::vector<std::string> to_stop(const std::vector<std::string>& running,
                                 const std::vector<std::string>& carried);

// One transaction, so that systemd orders them by their dependencies.
Result<void> stop_units(const std::vector<std::string>& units);
Result<void> start_units(const std::vector<std::string>& units);

// "active, main PID 812" as systemd sees it.
struct UnitState {
  std::string active_state;
  int main_pid = 0;
};
Result<UnitState> unit_state(const std::string& unit);

}  // namespace upkeep::systemd
