#include "systemd/adoption.h"

#include "os/child.h"
#include "os/file.h"

namespace upkeep::systemd {
namespace {

std::string drop_in_directory(const std::string& run_dir, const std::string& unit) {
  return fmt::format("{}/systemd/system/{}.d", run_dir, unit);
}

}  // namespace

nlohmann::json to_json(const Adoption& adoption) {
  return {{"unit", adoption.unit}, {"main_pid", adoption.main_pid}};
}

Result<Adoption> adoption_from_json(const nlohmann::json& json) {
  try {
    return Adoption{json.at("unit").get<std::string>(), json.at("main_pid").get<int>()};
  } catch (const nlohmann::json::exception& error) {
    return Err("adoption: {}", error.what());
  }
}

Result<void> prepare_adoption(const Adoption& adoption, const std::string& run_dir) {
  const std::string pid_file = fmt::format("{}/upkeep/adopt/{}.pid", run_dir, adoption.unit);
  TRY(os::make_directories(run_dir + "/upkeep/adopt", 0755));
  TRY(os::replace_file(pid_file, fmt::format("{}\n", adoption.main_pid), 0644));
  const std::string directory = drop_in_directory(run_dir, adoption.unit);
  TRY(os::make_directories(directory, 0755));
  // Type=forking takes its main process from a file that root owns, whoever started the process
  // (systemd.service(5), PIDFile=); processes that are in the unit's cgroup already are left alone.
  return os::replace_file(
      directory + "/zz-upkeep-adopt.conf",
      fmt::format("[Service]\nType=forking\nPIDFile={}\nExecCondition=\nExecStartPre=\nExecStart=\n"
                  "ExecStart=+/bin/true\nExecStartPost=\nGuessMainPID=no\n",
                  pid_file),
      0644);
}

Result<void> finish_adoption(const std::vector<Adoption>& adoptions) {
  if (adoptions.empty()) return {};
  for (const auto& adoption : adoptions) {
    TRY(os::remove_tree(drop_in_directory("/run", adoption.unit) + "/zz-upkeep-adopt.conf"));
    TRY(os::remove_tree(fmt::format("/run/upkeep/adopt/{}.pid", adoption.unit)));
  }
  TRY(os::run_checked({"systemctl", "daemon-reload"}));
  return {};
}

}  // namespace upkeep::systemd
