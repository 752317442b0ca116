#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "report/format.h"
#include "report/paint.h"
#include "report/text.h"

namespace upkeep::report {
namespace {

std::string named(const CarriedTask& task) {
  if (task.name.empty()) return fmt::format("process {}", task.pid);
  std::string text = fmt::format("{} ({}", shorten(printable(task.name), 32), task.pid);
  if (task.tasks > 1) text += fmt::format(", {} tasks", task.tasks);
  return text + ")";
}

std::string list_of(const std::vector<CarriedTask>& carried) {
  constexpr std::size_t kMost = 6;
  std::string text;
  for (std::size_t i = 0; i < carried.size() && i < kMost; ++i) {
    bool last = i + 1 == carried.size();
    text += (i == 0 ? "" : last ? " and " : ", ") + named(carried[i]);
  }
  if (carried.size() > kMost) text += fmt::format(" and {} more", carried.size() - kMost);
  return text.empty() ? "what was carried" : text;
}

std::string pause_text(const Window& window) {
  return seconds_that_add_up(std::span(&window.length_ns, 1), decimals_for(window.length_ns))[0] + " s";
}

// A bar of CELLS character cells, eighths included where there are characters for them.
std::string bar(const Style& style, std::int64_t part, std::int64_t whole, int cells) {
  static constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (whole <= 0) return "";
  auto eighths = static_cast<std::size_t>(
      std::lround(static_cast<double>(part) / static_cast<double>(whole) * cells * 8));
  if (!style.unicode) return std::string((eighths + 4) / 8, '#');
  std::string text;
  for (std::size_t i = 0; i < eighths / 8; ++i) text += "█";
  return text + kEighths.at(eighths % 8);
}

std::string window_text(const Window& window, const Style& style) {
  std::vector<std::int64_t> lengths;
  std::int64_t longest = 0;
  for (const auto& part : window.parts) {
    lengths.push_back(part.length_ns);
    longest = std::max(longest, part.length_ns);
  }
  std::size_t width = 10;
  for (const auto& part : window.parts) width = std::max(width, columns(part.name) + 2);
  auto shown = seconds_that_add_up(lengths, decimals_for(window.length_ns));
  std::string text;
  for (std::size_t i = 0; i < window.parts.size(); ++i) {
    const Part& part = window.parts[i];
    std::string color(part.side == Side::old_kernel ? kYellow : kCyan);
    text += "    " + pad(printable(part.name), width) + pad_left(shown[i], 8) + " s  " +
            paint(style, color, bar(style, part.length_ns, longest, 32)) + "\n";
  }
  std::string rule;
  for (std::size_t i = 0; i < width + 10; ++i) rule += style.unicode ? "─" : "-";
  const char* name = window.crossed ? "window" : "pause";
  text += "    " + paint(style, kDim, rule) + "\n    " +
          paint(style, kBold, pad(name, width) + pad_left(pause_text(window), 10)) + "\n";
  return text;
}

// "check 0.42 s, prepare 6.10 s before it; settle 2.20 s after it."
std::string around_text(const Summary& summary) {
  std::string before, after;
  std::int64_t end = summary.window ? summary.window->begin_ns + summary.window->length_ns : 0;
  for (const auto& run : summary.stages) {
    if (run.state != StepState::done) continue;
    bool is_before = !summary.window || run.end_ns <= summary.window->begin_ns;
    if (!is_before && run.begin_ns < end) continue;
    std::string& list = is_before ? before : after;
    list += (list.empty() ? "" : ", ") + printable(run.name) + " " + duration_text(run.length_ns());
  }
  if (before.empty() && after.empty()) return "";
  std::string text = "  While services ran: ";
  if (!before.empty()) text += before + " before it";
  if (!after.empty()) text += (before.empty() ? "" : "; ") + after + " after it";
  return text + ".\n";
}

std::string reason(const Summary& summary) {
  std::string text = printable(summary.message);
  if (summary.stage.empty()) return text;
  if (text.starts_with(printable(summary.stage) + ":")) return text;
  if (text.empty()) return "stage " + printable(summary.stage) + " failed";
  return printable(summary.stage) + ": " + text;
}

bool undo_is_clean(const Summary& summary) {
  return std::none_of(summary.stages.begin(), summary.stages.end(), [](const StageRun& run) {
    return run.undo && (run.undo->state == StepState::failed || run.undo->state == StepState::interrupted);
  });
}

std::string undone_text(const Summary& summary) {
  if (undo_is_clean(summary)) return "  Everything was undone.\n";
  std::string text = "  Not everything could be undone:\n";
  for (const auto& run : summary.stages) {
    if (!run.undo || run.undo->state == StepState::done) continue;
    std::string why = run.undo->message.empty() ? to_text(run.undo->state) : printable(run.undo->message);
    text += "    " + printable(run.name) + ": " + why + "\n";
  }
  return text;
}

std::string carried_text(const Summary& summary) {
  if (!summary.window || !summary.window->closed) return "";
  std::string who = list_of(summary.carried);
  if (summary.window->crossed) {
    return fmt::format("\n  {} crossed with a pause of {}{}:\n\n", who,
                       summary.window->exact ? "" : "at least ", pause_text(*summary.window));
  }
  return fmt::format("\n  {} stood still for {}:\n\n", who, pause_text(*summary.window));
}

std::string bold(const Style& style, std::string_view color, const std::string& text) {
  return "  " + paint(style, kBold, paint(style, color, text)) + "\n";
}

std::string upgraded_text(const Summary& summary, const Style& style) {
  return bold(style, kGreen, "This machine now runs " + printable(summary.to)) + "  (it ran " +
         printable(summary.from) + " before).\n";
}

std::string dry_run_text(const Summary& summary, const Style& style) {
  std::string text =
      bold(style, kGreen,
           "A dry run: all of it is undone, this machine runs " + printable(summary.from) + " as before.");
  auto predicted = summary.facts.find("predicted_window_s");
  if (predicted != summary.facts.end() && predicted->is_number()) {
    text += "  The window of the real upgrade would be about " + fact_text("predicted_window_s", *predicted);
    auto source = summary.facts.find("predicted_from");
    text += source != summary.facts.end()
                ? ",\n  estimated from " + fact_text("predicted_from", *source) + ".\n"
                : ".\n";
  }
  return text;
}

std::string restore_failed_text(const Summary& summary, const Style& style) {
  std::string id = printable(summary.id);
  return bold(style, kRed, "This machine now runs " + printable(summary.to) + ", but not what was carried.") +
         "  Why: " + reason(summary) + "\n\n  Their images are kept:\n    upkeep restore " + pad(id, 28) +
         " tries again\n    upkeep restore " + pad(id + " --discard", 28) + " deletes them\n";
}

std::string interrupted_text(const Summary& summary, const Style& style) {
  bool crossed = summary.window && summary.window->crossed;
  std::string where =
      summary.stage.empty() ? "before its first stage" : "in stage " + printable(summary.stage);
  return bold(style, kRed, "The upgrade was interrupted " + where + ": nobody works on it any more.") +
         "  Last heard of at " + time_text(summary.ended_ns) + ".\n" +
         (crossed ? "  If what was carried does not run: upkeep restore " + printable(summary.id) + "\n"
                  : "  The next upkeep command that needs root undoes what is left of it.\n");
}

std::string headline(const Summary& summary, const Style& style) {
  std::string from = printable(summary.from), to = printable(summary.to);
  switch (summary.outcome) {
    case Outcome::upgraded:
      return upgraded_text(summary, style);
    case Outcome::unsettled:
      return upgraded_text(summary, style) + "  Its last stage, settle, has not come to its end.\n";
    case Outcome::dry_run:
      return dry_run_text(summary, style);
    case Outcome::undone:
      return bold(style, kYellow, "Not upgraded: this machine still runs " + from + ".") +
             "  Why: " + reason(summary) + "\n" + undone_text(summary);
    case Outcome::failed_before:
      return bold(style, kYellow,
                  "Not upgraded, and nothing was touched: this machine still runs " + from + ".") +
             "  Why: " + reason(summary) + "\n";
    case Outcome::restore_failed:
      return restore_failed_text(summary, style);
    case Outcome::interrupted:
      return interrupted_text(summary, style);
    case Outcome::running:
      return bold(style, kCyan, fmt::format("An upgrade from {} to {} is under way", from, to)) +
             (summary.stage.empty() ? "" : "  in stage " + printable(summary.stage) + ".\n");
  }
  return "";
}

std::string stopped_text(const Summary& summary) {
  if (summary.stopped_units.empty()) return "";
  const bool one = summary.stopped_units.size() == 1;
  return fmt::format("  {} not carried: stopped before it, started again after it.\n",
                     one ? printable(summary.stopped_units[0]) + " was"
                         : fmt::format("{} units were", summary.stopped_units.size()));
}

std::string bytes_line(const Summary& summary) {
  auto bytes = summary.carried_bytes();
  if (!bytes) return "";
  return "  " + bytes_text(*bytes) + " of images crossed in memory.\n";
}

const char* mark_of(Outcome outcome) {
  return outcome == Outcome::running || outcome == Outcome::unsettled ? "…"
         : ended_badly(outcome)                                       ? "✗"
                                                                      : "✓";
}

std::string_view color_of(Outcome outcome) {
  if (outcome == Outcome::undone || outcome == Outcome::failed_before) return kYellow;
  return ended_badly(outcome) ? kRed : ended(outcome) ? kGreen : kCyan;
}

std::string spelled(Outcome outcome) {
  std::string text = to_text(outcome);
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

}  // namespace

std::string ascii_unless(const Style& style, std::string_view text) {
  if (style.unicode) return std::string(text);
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kSpelled = {
      {{"→", "->"}, {"µ", "u"}, {"…", "."}, {"✓", "+"}, {"✗", "x"}}};
  std::string out(text);
  for (const auto& [from, to] : kSpelled) {
    for (std::size_t at = 0; (at = out.find(from, at)) != std::string::npos; at += to.size()) {
      out.replace(at, from.size(), to);
    }
  }
  return out;
}

std::string begun_line(const Event& event, const Style& style) {
  Summary summary = summarise(std::span(&event, 1));
  return ascii_unless(
      style, fmt::format("{}{} → {}, carrying {}{}", summary.id.empty() ? "" : printable(summary.id) + ": ",
                         printable(summary.from), printable(summary.to), list_of(summary.carried),
                         summary.dry_run ? " (dry run)" : ""));
}

std::string summary_text(const Summary& summary, const Style& style) {
  std::string text = "\n" + headline(summary, style);
  text += carried_text(summary);
  if (summary.window && summary.window->closed && summary.window->length_ns >= kMillisecond)
    text += window_text(*summary.window, style) + "\n";
  if (summary.outcome == Outcome::upgraded || summary.outcome == Outcome::unsettled) {
    text += around_text(summary) + stopped_text(summary) + bytes_line(summary);
  }
  text += text.ends_with("\n\n") ? "" : "\n";
  for (const auto& warning : summary.warnings) {
    std::string stage = warning.stage.empty() ? "" : printable(warning.stage) + ": ";
    text += "  " + paint(style, kYellow, "Note:") + " " + stage + printable(warning.text) + "\n";
  }
  if (!summary.id.empty()) {
    std::string command = "upkeep report " + printable(summary.id) + " -o upgrade.html";
    text += "  " + paint(style, kDim, "As a picture: " + command) + "\n";
  }
  return ascii_unless(style, text);
}

std::string outcome_line(const Summary& summary, const Style& style) {
  std::string text =
      fmt::format("{} {} → {}", spelled(summary.outcome), printable(summary.from), printable(summary.to));
  if (!summary.stage.empty()) text += ", in stage " + printable(summary.stage);
  if (summary.window && summary.window->closed) {
    text += (summary.window->crossed ? ", window " : ", pause ") + pause_text(*summary.window);
  }
  return ascii_unless(style, text);
}

std::string history_text(std::span<const Summary> upgrades, const Style& style) {
  std::vector<std::array<std::string, 6>> rows = {{"ID", "STARTED", "FROM", "TO", "OUTCOME", "PAUSE"}};
  for (const auto& one : upgrades) {
    std::string outcome = spelled(one.outcome);
    bool says_where = one.outcome == Outcome::undone || one.outcome == Outcome::interrupted;
    if (says_where && !one.stage.empty()) outcome += " in " + printable(one.stage);
    rows.push_back({printable(one.id), time_text(one.started_ns), printable(one.from), printable(one.to),
                    outcome, one.window && one.window->closed ? pause_text(*one.window) : "-"});
  }
  std::array<std::size_t, 6> widths = {};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths.at(i) = std::max(widths.at(i), columns(row.at(i)));
  }
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line =
        r == 0 ? "  "
               : paint(style, color_of(upgrades[r - 1].outcome), mark_of(upgrades[r - 1].outcome)) + " ";
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) line += pad(rows[r].at(i), widths.at(i)) + "  ";
    line += pad_left(rows[r].back(), widths.back());
    text += (r == 0 ? paint(style, kBold, line) : line) + "\n";
  }
  return ascii_unless(style, text);
}

}  // namespace upkeep::report
