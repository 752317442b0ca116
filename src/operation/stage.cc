#include "operation/stage.h"

#include <algorithm>

namespace upkeep::operation {

Result<void> apply_stages(const Stages& stages, Context& context) {
  for (const auto& stage : stages) {
    const std::string name(stage->name());
    if (context.stage() != name) context.enter(name);
    auto applied = stage->apply(context);
    if (!applied) {
      context.emit({"stage_failed", name, applied.error().message()});
      return tl::unexpected(std::move(applied).error().in(name));
    }
    context.emit({"stage_done", name, context.take_conclusion()});
  }
  return {};
}

namespace {

Result<void> undo_one(const Stages& stages, const std::string& name, const Progress& progress,
                      const std::string& boot_id, const EventSink& emit) {
  const auto stage =
      std::find_if(stages.begin(), stages.end(), [&](const auto& one) { return one->name() == name; });
  if (stage == stages.end())
    return Err("this version of upkeep knows no stage '{}', and cannot undo it", name);
  const auto facts = progress.facts.find(name);
  const UndoContext context{facts == progress.facts.end() ? nlohmann::json::object() : facts->second, emit};
  return progress.boot_of(name) == boot_id ? (*stage)->undo(context) : (*stage)->undo_after_boot(context);
}

}  // namespace

bool undo_stages(const Stages& stages, const Progress& progress, const std::string& boot_id,
                 const EventSink& emit) {
  const EventSink back = [&emit](Event event) {
    event.direction = "undo";
    emit(event);
  };
  bool good = true;
  for (auto name = progress.begun.rbegin(); name != progress.begun.rend(); ++name) {
    back({"undo_begun", *name, ""});
    if (auto undone = undo_one(stages, *name, progress, boot_id, back); undone) {
      back({"undo_done", *name, ""});
    } else {
      good = false;
      back({"undo_failed", *name, undone.error().message()});
    }
  }
  return good;
}

}  // namespace upkeep::operation
