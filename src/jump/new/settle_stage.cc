#include <nlohmann/json.hpp>

#include "jump/manifest.h"
#include "jump/new/stages.h"
#include "memory/hand_back.h"
#include "os/file.h"
#include "systemd/adoption.h"
#include "systemd/units.h"

namespace upkeep::jump {
namespace {

void adopt_units(const Manifest& manifest, const operation::Context& context) {
  for (const auto& adoption : manifest.adoptions) {
    auto started = systemd::start_units({adoption.unit});
    auto state = systemd::unit_state(adoption.unit);
    if (!started || !state || state->main_pid != adoption.main_pid) {
      context.warn(fmt::format("{} runs (process {}), but systemd does not see it as its own: {}",
                               adoption.unit, adoption.main_pid,
                               started ? "another main process" : started.error().message()));
    }
  }
  if (auto finished = systemd::finish_adoption(manifest.adoptions); !finished)
    context.warn(finished.error().message());
}

// Units are started one by one here, so that one that fails does not keep the others back.
void start_stopped_units(const Manifest& manifest, const operation::Context& context) {
  for (const auto& unit : manifest.start_units) {
    if (auto started = systemd::start_units({unit}); !started)
      context.warn(fmt::format("{} did not start again: {}", unit, started.error().message()));
  }
}

void hand_memory_back(const Manifest& manifest, const operation::Context& context) {
  auto handed_back = memory::hand_back(manifest.store);
  if (!handed_back) {
    context.warn("the memory that held the images stays reserved: " + handed_back.error().message());
    return;
  }
  context.fact({{"handed_back", handed_back->to_json()}});
  for (const auto& kept : handed_back->kept) {
    context.warn(fmt::format("{} stays reserved until the next upgrade or restart: {}",
                             memory::text(kept.range), kept.why));
  }
}

// The tasks run, so nothing of this is a reason to end with an error: what does not work is a warning.
class SettleStage final : public operation::SharedStage<const Manifest> {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "settle"; }

  Result<void> apply_with(const Manifest& manifest, operation::Context& context) override {
    auto adoptions = nlohmann::json::array();
    for (const auto& adoption : manifest.adoptions) adoptions.push_back(to_json(adoption));
    context.fact({{"adoptions", adoptions}});
    adopt_units(manifest, context);
    start_stopped_units(manifest, context);
    for (const auto& [file, value] : manifest.settle_writes) {
      if (os::exists(file)) (void)os::write_value(file, value);
    }
    hand_memory_back(manifest, context);
    return {};
  }

  // Units that run and memory that was given back are the machine's. Drop-ins must not stay: the next start of their
  // unit would look for a process that may have ended.
  Result<void> undo(const operation::UndoContext& context) override {
    std::vector<systemd::Adoption> adoptions;
    for (const auto& entry : context.facts.value("adoptions", nlohmann::json::array())) {
      TRY_ASSIGN(auto adoption, systemd::adoption_from_json(entry));
      adoptions.push_back(std::move(adoption));
    }
    return systemd::finish_adoption(adoptions);
  }
};

}  // namespace

std::unique_ptr<operation::Stage> make_settle_stage(const Manifest* manifest) {
  return std::make_unique<SettleStage>(manifest);
}

}  // namespace upkeep::jump
