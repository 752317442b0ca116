#pragma once
// What was asked for: everything that a worker needs to carry an operation out. STATE/ID/plan.json.

#include <nlohmann/json.hpp>
#include <string>

#include "common/result.h"

namespace upkeep::operation {

struct Plan {
  std::string id;         // "20261123T151002Z", also the name of its directory
  std::string state_dir;  // /var/lib/upkeep
  std::string kind;       // which operation: "upgrade"
  bool dry_run = false;
  double deadline_s = 60;  // from where a stage starts the deadline to the end of the last stage
  nlohmann::json request = nlohmann::json::object();  // the operation's own; opaque here
};

nlohmann::json to_json(const Plan& plan);
Result<Plan> plan_from_json(const nlohmann::json& json);
Result<void> save_plan(const Plan& plan);
// Only of plans that this version can carry out: those of earlier ones are not read. Undo does not need them,
// it works from the journal.
Result<Plan> load_plan(const std::string& state_dir, const std::string& id);
std::string plan_directory(const Plan& plan);
std::string new_id();

}  // namespace upkeep::operation
