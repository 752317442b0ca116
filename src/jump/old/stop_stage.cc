#include "jump/old/run.h"
#include "jump/old/stages.h"
#include "systemd/units.h"

namespace upkeep::jump {
namespace {

// Services that are not carried end as they would for a restart, in the order that their units ask for,
// before anybody who is carried has to wait. They start again after the upgrade, or in undo.
class StopStage final : public OldKernelStage {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "stop"; }

  Result<void> apply_with(Run& run, operation::Context& context) override {
    if (!systemd::systemd_is_running()) return {};
    TRY_ASSIGN(auto running, systemd::running_services());
    std::vector<std::string> carried;
    for (const auto& tree : run.set.trees) {
      if (tree.unit.empty()) continue;
      carried.push_back(tree.unit);
      TRY_ASSIGN(auto state, systemd::unit_state(tree.unit));
      // Adopted only where the carried tree is the service itself, not something that it started.
      if (state.main_pid == tree.root) run.manifest.adoptions.push_back({tree.unit, state.main_pid});
    }
    const auto units = systemd::to_stop(running, carried);
    context.fact({{"units", units}});
    run.manifest.start_units = units;
    if (units.empty()) return {};
    context.progress(fmt::format("stopping {} units that are not carried", units.size()));
    return systemd::stop_units(units);
  }

  Result<void> undo(const operation::UndoContext& context) override {
    return systemd::start_units(context.facts.value("units", std::vector<std::string>()));
  }
};

}  // namespace

std::unique_ptr<operation::Stage> make_stop_stage(Run* run) { return std::make_unique<StopStage>(run); }

}  // namespace upkeep::jump
