#include <nlohmann/json.hpp>
#include "jump/old/check.h"
#include "jump/old/run.h"
#include "jump/old/stages.h"

namespace upkeep::jump {
namespace {

class CheckStage final : public Stage {
 public:
  std::string_view name() const override { return "check"; }

  Result<void> apply(Run& run) override {
    auto report = check_machine({run.plan.kernel, run.plan.carry});
    for (const auto& finding : report.findings) {
      if (finding.severity == Finding::Severity::warning) run.warn(finding.what + ": " + finding.why);
    }
    if (!report.possible()) return Err("{}", report.first_refusal());
    run.set = std::move(report.set);
    run.target = std::move(report.target);
    run.root = std::move(report.root);
    nlohmann::json carried = nlohmann::json::array();
    for (const auto& tree : run.set.trees) {
      carried.push_back(
          {{"pid", tree.root}, {"name", tree.command}, {"unit", tree.unit}, {"tasks", tree.tasks.size()}});
    }
    run.fact({{"to_release", run.target->release}, {"carried", carried}});
    return {};
  }

  Result<void> undo(const UndoContext&) override { return {}; }
};

}  // namespace

std::unique_ptr<Stage> make_check_stage() { return std::make_unique<CheckStage>(); }

}  // namespace upkeep::jump
