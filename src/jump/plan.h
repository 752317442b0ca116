#pragma once
// What was asked for: everything a worker needs to carry an upgrade out. STATE/ID/plan.json.

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::jump {

struct Plan {
  std::string id;         // "20261123T151002Z", also the name of its folder
  std::string state_dir;  // /var/lib/upkeep
  std::string kernel;     // as given: a release, a short name, or a path
  std::vector<pid_t> carry;
  bool dry_run = false;
  double deadline_s = 60;  // from the first stop to the jump
};

nlohmann::json to_json(const Plan& plan);
Result<Plan> plan_from_json(const nlohmann::json& json);
Result<void> save_plan(const Plan& plan);
Result<Plan> load_plan(const std::string& state_dir, const std::string& id);
std::string plan_folder(const Plan& plan);
std::string new_id();

}  // namespace upkeep::jump
