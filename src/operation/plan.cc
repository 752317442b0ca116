#include "operation/plan.h"

#include <time.h>

#include "os/file.h"

namespace upkeep::operation {

nlohmann::json to_json(const Plan& plan) {
  return {{"id", plan.id},           {"state_dir", plan.state_dir},   {"kind", plan.kind},
          {"dry_run", plan.dry_run}, {"deadline_s", plan.deadline_s}, {"request", plan.request}};
}

Result<Plan> plan_from_json(const nlohmann::json& json) {
  try {
    Plan plan;
    json.at("id").get_to(plan.id);
    json.at("state_dir").get_to(plan.state_dir);
    json.at("kind").get_to(plan.kind);
    json.at("dry_run").get_to(plan.dry_run);
    json.at("deadline_s").get_to(plan.deadline_s);
    plan.request = json.at("request");
    return plan;
  } catch (const nlohmann::json::exception& error) {
    return Err("plan: {}", error.what());
  }
}

std::string plan_directory(const Plan& plan) { return plan.state_dir + "/" + plan.id; }

Result<void> save_plan(const Plan& plan) {
  TRY(os::make_directories(plan_directory(plan), 0700));
  return os::replace_file(plan_directory(plan) + "/plan.json", to_json(plan).dump(2) + "\n");
}

Result<Plan> load_plan(const std::string& state_dir, const std::string& id) {
  TRY_ASSIGN(auto text, os::read_file(fmt::format("{}/{}/plan.json", state_dir, id)));
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return Err("{}/{}/plan.json is not JSON", state_dir, id);
  return plan_from_json(json);
}

std::string new_id() {
  const time_t now = ::time(nullptr);
  tm utc = {};
  ::gmtime_r(&now, &utc);
  char text[32];
  ::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc);
  return text;
}

}  // namespace upkeep::operation
