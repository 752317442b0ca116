#include <unistd.h>

#include "jump/old/run.h"
#include "jump/old/stages.h"
#include "os/child.h"

namespace upkeep::jump {
namespace {

// The last things before the window: memory that will hardly change is copied while its owner runs, files are
// written out, so that little is left to do when everybody waits.
class PrecopyStage final : public OldKernelStage {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "precopy"; }

  Result<void> apply_with(Run& run, operation::Context& context) override {
    context.progress("copying memory ahead");
    TRY_ASSIGN(auto image, engine::ImageWriter::create(run.images_directory()));
    run.image.emplace(std::move(image));
    TRY_ASSIGN(const auto pages, engine::copy_ahead(run.set, *run.image));
    if (pages)
      context.fact({{"engine.prepare_pause_ms", 0}, {"engine.prepare_pages", *pages}});  // nothing is stopped
    else
      context.warn("memory cannot be copied ahead here; the window will be longer");
    run.manifest.nft_ruleset = nft_ruleset();
    context.progress("writing files to disk");
    ::sync();
    return {};
  }

  Result<void> undo(const operation::UndoContext&) override { return {}; }

 private:
  static std::string nft_ruleset() {
    const auto nft = os::find_program("nft");
    if (nft.empty()) return "";
    auto rules = os::run_checked({nft, "-s", "list", "ruleset"});
    return rules ? *rules : "";
  }
};

}  // namespace

std::unique_ptr<operation::Stage> make_precopy_stage(Run* run) { return std::make_unique<PrecopyStage>(run); }

}  // namespace upkeep::jump
