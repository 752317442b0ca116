#include "systemd/units.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "os/child.h"
#include "os/file.h"

namespace upkeep::systemd {
namespace {

// The machine works with these until the jump; each of them is made to be started anew at any time.
constexpr std::array<std::string_view, 14> kNeededToTheEnd = {"systemd-journald",
                                                              "systemd-udevd",
                                                              "systemd-logind",
                                                              "systemd-networkd",
                                                              "systemd-resolved",
                                                              "systemd-timesyncd",
                                                              "systemd-userdbd",
                                                              "dbus",
                                                              "dbus-broker",
                                                              "ssh",
                                                              "sshd",
                                                              "networking",
                                                              "upkeep",
                                                              "init"};

bool is_needed(std::string_view unit) {
  for (auto prefix : {"getty@", "serial-getty@", "console-getty", "user@", "user-runtime-dir@", "ssh@",
                      "upkeep-", "systemd-nspawn@"}) {
    if (unit.starts_with(prefix)) return true;
  }
  unit.remove_suffix(std::string_view(".service").size());
  return std::find(kNeededToTheEnd.begin(), kNeededToTheEnd.end(), unit) != kNeededToTheEnd.end();
}

Result<void> transaction(const char* verb, const std::vector<std::string>& units) {
  if (units.empty()) return {};
  std::vector<std::string> argv = {"systemctl", verb, "--"};
  argv.insert(argv.end(), units.begin(), units.end());
  os::SpawnOptions options;
  options.timeout = std::chrono::minutes(5);
  TRY(os::run_checked(argv, options));
  return {};
}

}  // namespace

bool systemd_is_running() { return os::exists("/run/systemd/system"); }

Result<std::vector<std::string>> parse_unit_list(const std::string& text) {
  std::vector<std::string> units;
  std::size_t at = 0;
  while (at < text.size()) {
    auto end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    auto first = line.find_first_not_of(' ');
    if (first == std::string::npos) continue;
    std::string name = line.substr(first, line.find(' ', first) - first);
    if (!name.ends_with(".service")) return Err("unexpected line from systemctl: '{}'", line);
    units.push_back(std::move(name));
  }
  return units;
}

Result<std::vector<std::string>> running_services() {
  TRY_ASSIGN(auto text, os::run_checked({"systemctl", "list-units", "--type=service", "--state=running",
                                         "--plain", "--no-legend", "--no-pager"}));
  TRY_ASSIGN(auto units, parse_unit_list(text));
  if (units.empty()) return units;
  std::vector<std::string> argv = {"systemctl", "show", "-p", "Id", "-p", "FragmentPath", "--"};
  argv.insert(argv.end(), units.begin(), units.end());
  TRY_ASSIGN(auto properties, os::run_checked(argv));
  const auto lasting = lasting_units(properties);
  std::erase_if(units, [&](const auto& unit) {
    return std::find(lasting.begin(), lasting.end(), unit) == lasting.end();
  });
  return units;
}

std::vector<std::string> lasting_units(const std::string& text) {
  std::vector<std::string> units;
  std::string id, fragment;
  auto take = [&] {
    if (!id.empty() && !fragment.empty() && !fragment.starts_with("/run/systemd/transient/"))
      units.push_back(id);
    id.clear();
    fragment.clear();
  };
  std::size_t at = 0;
  while (at < text.size()) {
    auto end = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, end - at);
    at = end + 1;
    if (line.empty()) take();
    if (line.starts_with("Id=")) id = line.substr(3);
    if (line.starts_with("FragmentPath=")) fragment = line.substr(13);
  }
  take();
  return units;
}

std::vector<std::string> to_stop(const std::vector<std::string>& running,
                                 const std::vector<std::string>& carried) {
  std::vector<std::string> units;
  for (const auto& unit : running) {
    const bool carries = std::find(carried.begin(), carried.end(), unit) != carried.end();
    if (!carries && !is_needed(unit)) units.push_back(unit);
  }
  return units;
}

Result<void> stop_units(const std::vector<std::string>& units) { return transaction("stop", units); }
Result<void> start_units(const std::vector<std::string>& units) { return transaction("start", units); }

Result<UnitState> unit_state(const std::string& unit) {
  TRY_ASSIGN(auto text,
             os::run_checked({"systemctl", "show", "-p", "ActiveState", "-p", "MainPID", "--", unit}));
  UnitState state;
  auto value = [&](const std::string& key) {
    auto at = text.find(key + "=");
    return at == std::string::npos
               ? std::string()
               : text.substr(at + key.size() + 1, text.find('\n', at) - at - key.size() - 1);
  };
  state.active_state = value("ActiveState");
  const std::string pid = value("MainPID");
  std::from_chars(pid.data(), pid.data() + pid.size(), state.main_pid);
  return state;
}

}  // namespace upkeep::systemd
