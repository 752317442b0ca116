#pragma once
// A carried service in the new kernel. systemd starts the unit at boot or in settle; a drop-in in /run makes that
// start find the carried main process (PIDFile=) instead of running ExecStart=. `finish_adoption` removes the
// drop-in once the unit is active, so that a later restart is the unit's own.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::systemd {

struct Adoption {
  std::string unit;
  int main_pid = 0;
};
nlohmann::json to_json(const Adoption& adoption);
Result<Adoption> adoption_from_json(const nlohmann::json& json);

Result<void> prepare_adoption(const Adoption& adoption, const std::string& run_dir = "/run");
// systemd reads its units again where a drop-in was removed.
Result<void> finish_adoption(const std::vector<Adoption>& adoptions);

}  // namespace upkeep::systemd
