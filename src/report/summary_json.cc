#include <algorithm>

#include "report/format.h"
#include "report/summary.h"

namespace upkeep::report {
namespace {

using nlohmann::json;

double seconds(std::int64_t ns) { return static_cast<double>(ns) / 1e9; }

json part_json(const Part& part) {
  json value = {{"name", part.name},
                {"kernel", part.side == Side::old_kernel ? "old" : "new"},
                {"begin_ns", part.begin_ns},
                {"length_ns", part.length_ns},
                {"s", seconds(part.length_ns)}};
  if (!part.inside.empty()) {
    value["inside"] = json::array();
    for (const auto& piece : part.inside) value["inside"].push_back(part_json(piece));
  }
  return value;
}

json step_json(const Step& step) {
  json value = {{"state", to_text(step.state)},
                {"kernel", step.kernel},
                {"begin_ns", step.begin_ns},
                {"end_ns", step.end_ns},
                {"s", seconds(step.length_ns())}};
  if (!step.message.empty()) value["message"] = step.message;
  return value;
}

json window_json(const Window& window) {
  json parts = json::array();
  for (const auto& part : window.parts) parts.push_back(part_json(part));
  return {{"begin_ns", window.begin_ns}, {"length_ns", window.length_ns}, {"closed", window.closed},
          {"crossed", window.crossed},   {"exact", window.exact},         {"parts", std::move(parts)}};
}

}  // namespace

json to_json(const Summary& summary) {
  json value = {{"id", summary.id},
                {"from", summary.from},
                {"to", summary.to},
                {"dry_run", summary.dry_run},
                {"outcome", to_text(summary.outcome)},
                {"ended", ended(summary.outcome)},
                {"ended_badly", ended_badly(summary.outcome)},
                {"stage", summary.stage},
                {"message", summary.message},
                {"started_at", time_iso(summary.started_ns)},
                {"last_event_at", time_iso(summary.ended_ns)},
                {"stopped_units", summary.stopped_units},
                {"length_s", seconds(summary.length_ns)},
                {"facts", summary.facts}};
  value["exit_code"] = summary.exit_code ? json(*summary.exit_code) : json(nullptr);
  value["deadline_s"] = summary.deadline_s ? json(*summary.deadline_s) : json(nullptr);
  auto window_s = summary.window_s();
  value["window_s"] = window_s ? json(*window_s) : json(nullptr);
  value["window"] = summary.window ? window_json(*summary.window) : json(nullptr);
  value["carried"] = json::array();
  for (const auto& task : summary.carried) {
    value["carried"].push_back(
        {{"pid", task.pid}, {"name", task.name}, {"unit", task.unit}, {"tasks", task.tasks}});
  }
  value["stages"] = json::array();
  for (const auto& run : summary.stages) {
    json stage = step_json(run);
    stage["name"] = run.name;
    if (run.undo) stage["undo"] = step_json(*run.undo);
    value["stages"].push_back(std::move(stage));
  }
  value["warnings"] = json::array();
  for (const auto& warning : summary.warnings) {
    value["warnings"].push_back({{"at_ns", warning.at_ns}, {"stage", warning.stage}, {"text", warning.text}});
  }
  return value;
}

}  // namespace upkeep::report
