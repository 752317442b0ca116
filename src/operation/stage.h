#pragma once
// A stage of an operation, and the one thing that runs stages, in whichever kernel and process.
//
// apply() may keep live objects in what the operation shares among its stages. undo() has none of them: it may
// be called after that process was killed, in another one, so it works from the facts that apply() recorded
// before each change, and must be right when the change was made, half made, or never made, and when it is
// called twice.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/event.h"
#include "common/result.h"
#include "operation/context.h"
#include "operation/journal.h"

namespace upkeep::operation {

struct UndoContext {
  nlohmann::json facts;  // what apply() recorded
  EventSink emit;        // events of undo say so by their direction
};

class Stage {
 public:
  Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  virtual ~Stage() = default;

  virtual std::string_view name() const = 0;
  virtual Result<void> apply(Context& context) = 0;
  virtual Result<void> undo(const UndoContext& context) = 0;
  // Undo after the machine was started anew. Memory, processes, mounts, rules of the packet filter, what was
  // loaded and everything in /run are gone with the boot that had them; files elsewhere are not: a stage that
  // makes some takes them back here.
  virtual Result<void> undo_after_boot(const UndoContext&) { return {}; }
  // False: apply() looks only, and where no other stage was begun nothing has to be said about undo.
  virtual bool changes_machine() const { return true; }
};

using Stages = std::vector<std::unique_ptr<Stage>>;

// Applies STAGES in order and stops at the first that fails; undoes nothing. The first one may have been
// entered already (Context::enter).
Result<void> apply_stages(const Stages& stages, Context& context);

// Undoes what PROGRESS says was begun, last begun first: with undo() what was begun in the boot BOOT_ID, which is
// this one, with undo_after_boot() what was begun in an earlier one. Goes on after a failing undo: the rest
// matters more. A stage that is not among STAGES is a failure that is named. True where every undo worked.
bool undo_stages(const Stages& stages, const Progress& progress, const std::string& boot_id,
                 const EventSink& emit);

}  // namespace upkeep::operation
