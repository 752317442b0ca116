#include "jump/old/stage.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "jump/old/run.h"

namespace upkeep::jump {

Result<void> apply_stages(const Stages& stages, Run& run) {
  for (const auto& stage : stages) {
    const std::string name(stage->name());
    run.enter(name);
    auto applied = stage->apply(run);
    if (!applied) {
      run.emit({"stage_failed", name, applied.error().message()});
      return tl::unexpected(std::move(applied).error().in(name));
    }
    run.emit({"stage_done", name, ""});
  }
  return {};
}

bool undo_stages(const Stages& stages, const operation::Progress& progress, const EventSink& emit) {
  bool good = true;
  for (auto name = progress.begun.rbegin(); name != progress.begun.rend(); ++name) {
    auto stage =
        std::find_if(stages.begin(), stages.end(), [&](const auto& s) { return s->name() == *name; });
    if (stage == stages.end()) continue;  // a stage of the new kernel, or of another version
    emit({"undo_begun", *name, ""});
    auto facts = progress.facts.find(*name);
    UndoContext context{facts == progress.facts.end() ? nlohmann::json::object() : facts->second, emit};
    auto undone = (*stage)->undo(context);
    if (undone) {
      emit({"undo_done", *name, ""});
    } else {
      good = false;
      emit({"undo_failed", *name, undone.error().message()});
    }
  }
  return good;
}

}  // namespace upkeep::jump
