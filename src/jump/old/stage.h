#pragma once
// A stage of an upgrade, and the one thing that runs stages.
//
// apply() works in the worker's process and may keep live objects in the Run. undo() has none of them: it may
// be called after that process was killed, in another one, so it works from the facts that apply() recorded
// before each change, and must be right when the change was made, half made, or never made.

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "common/event.h"
#include "common/result.h"
#include "operation/journal.h"

namespace upkeep::jump {

class Run;

struct UndoContext {
  nlohmann::json facts;  // what apply() recorded
  EventSink emit;
};

class Stage {
 public:
  Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  virtual ~Stage() = default;

  virtual std::string_view name() const = 0;
  virtual Result<void> apply(Run& run) = 0;
  virtual Result<void> undo(const UndoContext& context) = 0;
};

using Stages = std::vector<std::unique_ptr<Stage>>;

// The stages before the jump, in order: check, prepare, stop, precopy, park, snapshot, jump.
Stages old_kernel_stages();

// Applies STAGES in order and stops at the first that fails; undoes nothing.
Result<void> apply_stages(const Stages& stages, Run& run);

// Undoes what PROGRESS says was begun, last begun first. Goes on after a failing undo: the rest matters more.
// True where every undo worked.
bool undo_stages(const Stages& stages, const operation::Progress& progress, const EventSink& emit);

}  // namespace upkeep::jump
