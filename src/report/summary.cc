#include "report/summary.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "report/axis.h"
#include "report/format.h"
#include "report/window.h"

namespace upkeep::report {
namespace {

constexpr std::array<std::pair<Outcome, const char*>, 8> kOutcomes = {{
    {Outcome::running, "running"},
    {Outcome::interrupted, "interrupted"},
    {Outcome::unsettled, "unsettled"},
    {Outcome::upgraded, "upgraded"},
    {Outcome::dry_run, "dry_run"},
    {Outcome::undone, "undone"},
    {Outcome::failed_before, "failed_before"},
    {Outcome::restore_failed, "restore_failed"},
}};

constexpr std::size_t kMostParts = 64;  // more are not to be drawn, and would be somebody's joke

std::string text_in(const nlohmann::json& data, const char* name) {
  auto it = data.find(name);
  return it != data.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::optional<double> number_in(const nlohmann::json& data, const char* name) {
  auto it = data.find(name);
  if (it == data.end() || !it->is_number()) return std::nullopt;
  return it->get<double>();
}

std::int64_t integer_in(const nlohmann::json& data, const char* name, std::int64_t otherwise) {
  auto it = data.find(name);
  return it != data.end() && it->is_number_integer() ? it->get<std::int64_t>() : otherwise;
}

bool happens_in_new_kernel(std::string_view stage) {
  return stage == "land" || stage == "restore" || stage == "resume" || stage == "settle";
}

// A list of {pid, name, unit, tasks}, or of bare PIDs.
std::vector<CarriedTask> carried_in(const nlohmann::json& list) {
  std::vector<CarriedTask> carried;
  if (!list.is_array()) return carried;
  for (const auto& entry : list) {
    if (entry.is_number_integer()) carried.push_back({entry.get<std::int64_t>(), "", "", 1});
    if (!entry.is_object()) continue;
    carried.push_back({integer_in(entry, "pid", 0), text_in(entry, "name"), text_in(entry, "unit"),
                       std::max<std::int64_t>(1, integer_in(entry, "tasks", 1))});
  }
  return carried;
}

std::vector<Part> parts_inside(const nlohmann::json& data) {
  std::vector<Part> parts;
  auto it = data.find("parts");
  if (it == data.end() || !it->is_array()) return parts;
  for (const auto& entry : *it) {
    if (!entry.is_object() || parts.size() == kMostParts) continue;
    auto length = nanoseconds(entry, "ns");
    if (!length) continue;
    parts.push_back({text_in(entry, "name"), 0, *length, Side::old_kernel, {}});
  }
  return parts;
}

// Reads events one after the other into a summary.
class Reading {
 public:
  explicit Reading(const SummaryOptions& options) : options_(options) { summary_.id = options.id; }
  void read(const Event& event);
  Summary finish() &&;

 private:
  void begin_upgrade(const Event& event);
  void begin_stage(const Event& event);
  void end_stage(const Event& event, StepState state);
  void begin_undo(const Event& event);
  void end_undo(const Event& event, StepState state);
  void end_upgrade(const Event& event);
  void note_facts(const Event& event);
  void note_piece(const Event& event);
  void break_off(bool another_stage_begins);
  Step step_at(const Event& event, StepState state) const;
  StageRun* last_run(std::string_view name);
  std::optional<std::int64_t> begin_of_step_ended_by(const Event& event);
  Side side_of(const Event& event) const;
  Outcome unfinished_outcome() const;

  SummaryOptions options_;
  Summary summary_;
  Axis axis_;
  std::optional<Outcome> ended_as_;
  bool taken_up_again_ = false;  // somebody tries the restore of an upgrade that had ended
  std::string failed_stage_;
  bool crossed_ = false;
  WindowNotes notes_;
  std::vector<Part> pieces_;  // of the stage that runs
  std::int64_t piece_begin_ = 0;
};

Side Reading::side_of(const Event& event) const {
  if (summary_.from != summary_.to && !event.kernel.empty()) {
    if (event.kernel == summary_.from) return Side::old_kernel;
    if (event.kernel == summary_.to) return Side::new_kernel;
  }
  if (event.stage == "jump") return Side::old_kernel;
  return crossed_ || happens_in_new_kernel(event.stage) ? Side::new_kernel : Side::old_kernel;
}

Step Reading::step_at(const Event& event, StepState state) const {
  return {state, axis_.now(), axis_.now(), event.kernel, side_of(event), event.message};
}

StageRun* Reading::last_run(std::string_view name) {
  for (auto run = summary_.stages.rbegin(); run != summary_.stages.rend(); ++run) {
    if (run->name == name) return &*run;
  }
  return nullptr;
}

std::optional<std::int64_t> Reading::begin_of_step_ended_by(const Event& event) {
  const StageRun* run = last_run(event.stage);
  if (run == nullptr) return std::nullopt;
  if (event.kind == "stage_done" || event.kind == "stage_failed") {
    return run->state == StepState::running ? std::optional(run->begin_ns) : std::nullopt;
  }
  if (event.kind == "undo_done" || event.kind == "undo_failed") {
    return run->undo && run->undo->state == StepState::running ? std::optional(run->undo->begin_ns)
                                                               : std::nullopt;
  }
  return std::nullopt;
}

void Reading::begin_upgrade(const Event& event) {
  if (auto id = text_in(event.data, "id"); !id.empty()) summary_.id = id;
  summary_.from = text_in(event.data, "from");
  summary_.to = text_in(event.data, "to");
  if (summary_.from.empty()) summary_.from = event.kernel;
  auto dry_run = event.data.find("dry_run");
  summary_.dry_run = dry_run != event.data.end() && dry_run->is_boolean() && dry_run->get<bool>();
  summary_.deadline_s = number_in(event.data, "deadline_s");
  auto carry = event.data.find("carry");
  if (carry != event.data.end()) summary_.carried = carried_in(*carry);
}

// A fact that says how long something took ends a piece of its stage. How long that piece is on the axis
// counts, not what the fact says: so pieces add up whatever was measured from when.
void Reading::note_piece(const Event& event) {
  if (summary_.stages.empty() || summary_.stages.back().state != StepState::running) return;
  for (const auto& [name, value] : event.data.items()) {
    if (!name.ends_with("_ms") || pieces_.size() == kMostParts) continue;
    std::string title = fact_title(name);
    title = title.substr(title.starts_with("engine ") ? 7 : 0);
    pieces_.push_back({title, 0, axis_.now() - piece_begin_, Side::old_kernel, {}});
    piece_begin_ = axis_.now();
    return;
  }
}

void Reading::note_facts(const Event& event) {
  if (!event.data.is_object()) return;
  summary_.facts.update(event.data);
  if (event.data.contains("window_begin_ns")) {
    notes_.begin = axis_.now();
    pieces_.clear();
    piece_begin_ = axis_.now();
  }
  if (event.data.contains("window_end_ns")) notes_.end = axis_.now();
  note_piece(event);
  // What was asked for is known when the upgrade begins; its kernel and its tasks by name only after check.
  if (auto carried = event.data.find("carried"); carried != event.data.end()) {
    if (auto tasks = carried_in(*carried); !tasks.empty()) summary_.carried = std::move(tasks);
  }
  if (auto release = text_in(event.data, "to_release"); !release.empty()) summary_.to = release;
  auto units = event.data.find("units");
  if (event.stage != "stop" || units == event.data.end() || !units->is_array()) return;
  summary_.stopped_units.clear();
  for (const auto& unit : *units) {
    if (unit.is_string()) summary_.stopped_units.push_back(unit.get<std::string>());
  }
}

// Whatever still runs when something else begins did not come to its end. Only the jump has nobody to say
// that it is over: the first stage of the new kernel does.
void Reading::break_off(bool another_stage_begins) {
  for (auto& run : summary_.stages) {
    for (Step* step : {static_cast<Step*>(&run), run.undo ? &*run.undo : nullptr}) {
      if (step == nullptr || step->state != StepState::running) continue;
      bool jumped = another_stage_begins && step == &run && run.name == "jump";
      step->state = jumped ? StepState::done : StepState::interrupted;
      step->end_ns = jumped ? axis_.now() : axis_.before();
    }
  }
}

void Reading::begin_stage(const Event& event) {
  break_off(true);
  taken_up_again_ = ended_as_.has_value();
  pieces_.clear();
  piece_begin_ = axis_.now();
  StageRun run;
  static_cast<Step&>(run) = step_at(event, StepState::running);
  run.name = event.stage;
  if (run.side == Side::new_kernel) {
    crossed_ = true;
    if (!event.kernel.empty()) summary_.to = event.kernel;
  }
  summary_.stages.push_back(std::move(run));
}

void Reading::end_stage(const Event& event, StepState state) {
  StageRun* run = last_run(event.stage);
  if (run == nullptr || run->state != StepState::running) {
    begin_stage(event);  // its beginning is not in the journal: a step without length
    run = &summary_.stages.back();
  }
  run->state = state;
  run->end_ns = axis_.now();
  if (!event.message.empty()) run->message = event.message;
  if (state == StepState::failed) {
    failed_stage_ = event.stage;
    summary_.message = event.message;
  }
  auto parts = parts_inside(event.data);
  if (parts.empty()) parts = std::exchange(pieces_, {});
  notes_.inside.emplace_back(static_cast<std::size_t>(run - summary_.stages.data()), std::move(parts));
}

void Reading::begin_undo(const Event& event) {
  break_off(false);
  StageRun* run = last_run(event.stage);
  if (run == nullptr) {
    StageRun unknown;
    static_cast<Step&>(unknown) = step_at(event, StepState::interrupted);
    unknown.name = event.stage;
    summary_.stages.push_back(std::move(unknown));
    run = &summary_.stages.back();
  }
  if (run->undo && run->undo->state != StepState::done) {
    // A later upkeep goes on where a killed one stopped: one undo, from its first beginning on.
    run->undo->state = StepState::running;
    return;
  }
  run->undo = step_at(event, StepState::running);
}

void Reading::end_undo(const Event& event, StepState state) {
  StageRun* run = last_run(event.stage);
  if (run == nullptr || !run->undo || run->undo->state != StepState::running) {
    begin_undo(event);
    run = last_run(event.stage);
  }
  run->undo->state = state;
  run->undo->end_ns = axis_.now();
  if (!event.message.empty()) run->undo->message = event.message;
}

void Reading::end_upgrade(const Event& event) {
  break_off(false);
  taken_up_again_ = false;
  if (!event.message.empty()) summary_.message = event.message;
  auto code = event.data.find("exit_code");
  if (code != event.data.end() && code->is_number_integer()) {
    summary_.exit_code = static_cast<int>(std::clamp<std::int64_t>(code->get<std::int64_t>(), 0, 255));
  }
  std::string outcome = text_in(event.data, "outcome");
  for (const auto& [value, name] : kOutcomes) {
    if (outcome == name) ended_as_ = value;
  }
}

void Reading::read(const Event& event) {
  axis_.advance(event, begin_of_step_ended_by(event));
  if (!axis_.complaint().empty()) {
    summary_.warnings.push_back({axis_.now(), event.stage, axis_.complaint()});
    notes_.uncounted.push_back(axis_.now());
  }
  if (event.time_ns != 0) {
    if (summary_.started_ns == 0) summary_.started_ns = event.time_ns;
    summary_.ended_ns = event.time_ns;
  }
  if (event.kind == "upgrade_begun") begin_upgrade(event);
  if (event.kind == "stage_begun") begin_stage(event);
  if (event.kind == "stage_done") end_stage(event, StepState::done);
  if (event.kind == "stage_failed") end_stage(event, StepState::failed);
  if (event.kind == "undo_begun") begin_undo(event);
  if (event.kind == "undo_done") end_undo(event, StepState::done);
  if (event.kind == "undo_failed") end_undo(event, StepState::failed);
  if (event.kind == "upgrade_ended") end_upgrade(event);
  if (event.kind == "warning") summary_.warnings.push_back({axis_.now(), event.stage, event.message});
  if (event.kind == "fact") note_facts(event);
}

Outcome Reading::unfinished_outcome() const {
  if (options_.alive && (!ended_as_ || taken_up_again_)) return Outcome::running;
  if (ended_as_) return *ended_as_;
  bool resumed = std::any_of(summary_.stages.begin(), summary_.stages.end(), [](const StageRun& run) {
    return run.name == "resume" && run.state == StepState::done;
  });
  return resumed ? Outcome::unsettled : Outcome::interrupted;
}

Summary Reading::finish() && {
  summary_.length_ns = axis_.now();
  for (auto& run : summary_.stages) {
    for (Step* step : {static_cast<Step*>(&run), run.undo ? &*run.undo : nullptr}) {
      if (step == nullptr || step->state != StepState::running) continue;
      step->end_ns = axis_.now();
      if (!options_.alive) step->state = StepState::interrupted;
    }
  }
  summary_.outcome = unfinished_outcome();
  summary_.stage = failed_stage_;
  if (!ended(summary_.outcome) && !summary_.stages.empty()) summary_.stage = summary_.stages.back().name;
  if (summary_.outcome == Outcome::upgraded || summary_.outcome == Outcome::dry_run) summary_.stage.clear();
  summary_.window = find_window(summary_, notes_);
  return std::move(summary_);
}

}  // namespace

const char* to_text(Outcome outcome) {
  for (const auto& [value, name] : kOutcomes) {
    if (value == outcome) return name;
  }
  return "unknown";
}

bool ended(Outcome outcome) {
  return outcome != Outcome::running && outcome != Outcome::interrupted && outcome != Outcome::unsettled;
}

bool ended_badly(Outcome outcome) {
  return outcome == Outcome::interrupted || outcome == Outcome::undone || outcome == Outcome::failed_before ||
         outcome == Outcome::restore_failed;
}

const char* to_text(StepState state) {
  switch (state) {
    case StepState::running:
      return "running";
    case StepState::done:
      return "done";
    case StepState::failed:
      return "failed";
    case StepState::interrupted:
      return "interrupted";
  }
  return "unknown";
}

std::optional<double> Summary::carried_bytes() const {
  for (const char* name : {"carried_bytes", "image_bytes"}) {
    if (auto bytes = number_in(facts, name)) return bytes;
  }
  return std::nullopt;
}

std::optional<double> Summary::window_s() const {
  if (!window || !window->closed) return std::nullopt;
  return static_cast<double>(window->length_ns) / 1e9;
}

nlohmann::json Summary::facts_for_people() const {
  static constexpr std::array<std::string_view, 13> kNotes = {
      "jumping", "dry_run",     "error",   "to_release", "window_begin_ns", "window_end_ns", "window_s",
      "loading", "work_folder", "landing", "store",      "saved_images",    "adoptions"};
  nlohmann::json shown = nlohmann::json::object();
  for (const auto& [name, value] : facts.items()) {
    if (value.is_structured() || value.is_null()) continue;
    if (std::find(kNotes.begin(), kNotes.end(), name) == kNotes.end()) shown[name] = value;
  }
  return shown;
}

Summary summarise(std::span<const Event> events, const SummaryOptions& options) {
  Reading reading(options);
  for (const auto& event : events) reading.read(event);
  return std::move(reading).finish();
}

}  // namespace upkeep::report
