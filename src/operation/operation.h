#pragma once
// An operation: what changes the machine in stages and can be undone. A jump into another kernel is one, a live
// patch or a module swapped in place would be others. Journal, lock, worker, undo and recovery are the same for
// all of them; an operation brings its stages, and what these share.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "operation/plan.h"
#include "operation/stage.h"

namespace upkeep::operation {

// One attempt, in the worker's doer: the stages, and what they pass on to each other. All of it dies with the
// process; what undo needs is in the journal.
class Attempt {
 public:
  Attempt() = default;
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;
  virtual ~Attempt() = default;

  // In order. They refer to this object.
  virtual Stages stages() = 0;
  // Ends what this process holds of the machine, before anything is undone from the journal.
  virtual void let_go() {}
};

class Operation {
 public:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() = default;

  // "upgrade": in plans and in the journal's first event.
  virtual std::string_view kind() const = 0;
  // PLAN outlives the result. An error where its request makes no sense.
  virtual Result<std::unique_ptr<Attempt>> attempt(const Plan& plan) const = 0;
  // All stages that a journal of this kind may name, those of the next kernel too; for undo.
  virtual Stages stages_for_undo() const = 0;
  // What the journal's first event says of PLAN beside the plan itself.
  virtual nlohmann::json announced(const Plan&) const { return nlohmann::json::object(); }
  // Whether somebody else (another kernel) is responsible for what was begun, as long as PROGRESS is not ended:
  // nobody undoes it from outside then.
  virtual bool handed_over(const Progress&) const { return false; }
  // How a dry run ends that went well, for people.
  virtual std::string dry_run_done() const { return "dry run: everything was undone"; }
};

// Those that this program knows. A list that is handed down, so that a test brings its own.
using Operations = std::vector<const Operation*>;
// The error names KIND. A journal of a version that knew upgrades only says no kind: that is an "upgrade".
Result<const Operation*> find_operation(const Operations& operations, const std::string& kind);

}  // namespace upkeep::operation
