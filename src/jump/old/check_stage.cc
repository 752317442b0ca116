#include <nlohmann/json.hpp>
#include "jump/old/check.h"
#include "jump/old/run.h"
#include "jump/old/stages.h"

namespace upkeep::jump {
namespace {

class CheckStage final : public OldKernelStage {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "check"; }

  Result<void> apply_with(Run& run, operation::Context& context) override {
    auto report = check_machine({run.request.loads.next, run.request.carry});
    for (const auto& finding : report.findings) {
      if (finding.severity == Finding::Severity::warning) context.warn(finding.what + ": " + finding.why);
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
    context.fact({{"to_release", run.target->release}, {"carried", carried}});
    return {};
  }

  Result<void> undo(const operation::UndoContext&) override { return {}; }
  bool changes_machine() const override { return false; }
};

}  // namespace

std::unique_ptr<operation::Stage> make_check_stage(Run* run) { return std::make_unique<CheckStage>(run); }

}  // namespace upkeep::jump
