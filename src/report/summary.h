#pragma once
// What an upgrade was, worked out from the events of its journal: how it ended, when each stage ran and in
// which kernel, and the window with its parts. Text, JSON and HTML all show this one struct.
//
// Times are nanoseconds on the upgrade's own axis, which begins at 0 with its first event and never goes
// back. It is laid through the events' wall-clock times, but where these cannot be true (a clock that was set
// back, a new kernel whose clock began somewhere else) they are left out and the summary carries a warning; a
// stage event that carries `data.duration_ns` is believed before the clock is. Differences on this axis
// therefore always add up.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/event.h"

namespace upkeep::report {

enum class Outcome {
  running,         // somebody works on it at this moment
  interrupted,     // nobody does, and the journal breaks off: power cut, kill -9
  unsettled,       // likewise, but the carried tasks run on the new kernel: only settle is missing
  upgraded,        // ended well
  dry_run,         // ended well: everything up to the jump, then undone, as asked
  undone,          // given up after something had been touched; all of it was put back
  failed_before,   // given up before anything was touched
  restore_failed,  // the new kernel runs, the carried tasks do not
};
const char* to_text(Outcome outcome);  // "upgraded", "restore_failed", ... as in the journal
bool ended(Outcome outcome);           // false for running, interrupted, unsettled
bool ended_badly(Outcome outcome);     // what makes `upkeep status` exit 1; interrupted is among them

// One of the trees named with --carry.
struct CarriedTask {
  std::int64_t pid = 0;
  std::string name;
  std::string unit;        // systemd unit; empty where there is none
  std::int64_t tasks = 1;  // tasks in the tree, the root included
};

enum class StepState { running, done, failed, interrupted };
const char* to_text(StepState state);

enum class Side { old_kernel, new_kernel };

// One stretch of work: a stage being applied or undone.
struct Step {
  StepState state = StepState::running;
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;  // while running: of the last event seen
  std::string kernel;       // release of the kernel it began in
  Side side = Side::old_kernel;
  std::string message;  // of its last event that had one
  std::int64_t length_ns() const { return end_ns - begin_ns; }
};

// A stage, run once. A restore that is tried again is a second one of the same name.
struct StageRun : Step {
  std::string name;
  std::optional<Step> undo;
};

// A stretch of the window. It lasts until the next one begins, so that nothing falls between.
struct Part {
  std::string
      name;  // of the stage, "undo", or "waiting" (after a failed restore, until somebody tries again)
  std::int64_t begin_ns = 0;
  std::int64_t length_ns = 0;
  Side side = Side::old_kernel;
  std::vector<Part>
      inside;  // from `data.parts` of the stage's last event; where given, they add up to length_ns
};

// From the first carried task stopped to the last one running again: from the fact window_begin_ns (else:
// park begun) to the fact window_end_ns (else: resume done; or park undone).
struct Window {
  std::int64_t begin_ns = 0;
  std::int64_t length_ns = 0;  // always the sum of the parts
  bool closed = false;         // false: the journal breaks off, or the restore failed, before they ran again
  bool crossed = false;        // it contains the jump
  bool exact = true;           // false: a clock was wrong in it, and nobody measured how long that part was
  std::vector<Part> parts;
};

struct Warning {
  std::int64_t at_ns = 0;
  std::string stage;
  std::string text;
};

struct Summary {
  std::string id, from, to;
  bool dry_run = false;
  Outcome outcome = Outcome::interrupted;
  std::string message;  // what upgrade_ended said, or the error that began the undoing
  std::string stage;    // where it is, was interrupted, or failed
  std::optional<int> exit_code;
  std::int64_t started_ns = 0;       // wall clock, nanoseconds since 1970
  std::int64_t ended_ns = 0;         // wall clock of the last event
  std::int64_t length_ns = 0;        // on the axis
  std::optional<double> deadline_s;  // first stop to jump, as asked for
  std::vector<CarriedTask> carried;
  std::vector<std::string> stopped_units;  // not carried: stopped before the window, started again after it
  std::vector<StageRun> stages;            // in the order in which they began
  std::optional<Window> window;            // none where no task was ever stopped
  std::vector<Warning> warnings;
  nlohmann::json facts = nlohmann::json::object();  // of all `fact` events, later ones over earlier ones

  // The facts that mean something to people: no lists, no notes that upkeep leaves for its own undo.
  nlohmann::json facts_for_people() const;

  std::optional<double> carried_bytes() const;  // what crossed in memory
  std::optional<double> window_s() const;       // of a closed window
};

struct SummaryOptions {
  std::string id;      // where the journal's first line is missing; usually the name of its directory
  bool alive = false;  // somebody works on this upgrade (a journal cannot tell)
};

// Never fails: a journal that is torn, unfinished or strange gives a summary that says so.
Summary summarise(std::span<const Event> events, const SummaryOptions& options = {});

nlohmann::json to_json(const Summary& summary);

}  // namespace upkeep::report
