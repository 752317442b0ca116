#include "jump/old/upgrade.h"

#include <iterator>

#include "jump/new/stages.h"
#include "jump/old/run.h"
#include "jump/old/stages.h"
#include "os/procfs.h"

namespace upkeep::jump {
namespace {

class Upgrade final : public operation::Operation {
 public:
  std::string_view kind() const override { return "upgrade"; }

  Result<std::unique_ptr<operation::Attempt>> attempt(const operation::Plan& plan) const override {
    TRY_ASSIGN(auto request, request_from_json(plan.request));
    return std::make_unique<Run>(plan, std::move(request));
  }

  operation::Stages stages_for_undo() const override {
    auto stages = old_kernel_stages(nullptr);
    auto more = new_kernel_stages_for_undo();
    stages.insert(stages.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    return stages;
  }

  nlohmann::json announced(const operation::Plan& plan) const override {
    const auto request = request_from_json(plan.request);
    if (!request) return nlohmann::json::object();
    return {{"to", request->loads.next}, {"carry", request->carry}};
  }

  // The jump was announced, and another kernel runs: what it restores, or not, is its own.
  bool handed_over(const operation::Progress& progress) const override {
    const auto jump = progress.facts.find("jump");
    return jump != progress.facts.end() && jump->second.value("jumping", false) &&
           progress.boot_id != os::boot_id();
  }

  std::string dry_run_done() const override {
    return "dry run: everything was undone, the carried tasks run on";
  }
};

}  // namespace

const operation::Operation& upgrade() {
  static const Upgrade upgrade;
  return upgrade;
}

}  // namespace upkeep::jump
