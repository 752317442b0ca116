#include <nlohmann/json.hpp>

#include "jump/new/landing.h"
#include "jump/new/stages.h"
#include "machine/mounts.h"

namespace upkeep::jump {
namespace {

// Begun by Landing::begin() when there was no root yet; here there is one.
class LandStage final : public NewKernelStage {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "land"; }

  Result<void> apply_with(Landing& landing, operation::Context&) override {
    TRY(landing.wait_for_images());
    return machine::make_early_mounts(landing.manifest.mounts);
  }

  // What crossed goes to disk for `upkeep restore`: the memory that holds it is given back when the machine
  // settles. Mounts stay, they are the machine's.
  Result<void> undo(const operation::UndoContext& context) override {
    const auto& facts = context.facts;
    remove_copied_images(facts.value("landing", ""));
    const std::string saved = facts.value("saved_images", "");
    if (saved.empty()) return {};
    TRY_ASSIGN(auto images, memory::CarriedImages::open(facts.value("store", std::uint64_t{0})));
    TRY_IN("the images could not be saved", images.save_to(saved));
    return {};
  }
  // Saved images stay what they are: `upkeep restore` takes them, or --discard. What lay in memory is gone.
};

}  // namespace

std::unique_ptr<operation::Stage> make_land_stage(Landing* landing) {
  return std::make_unique<LandStage>(landing);
}

}  // namespace upkeep::jump
