#include "report/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "report/format.h"
#include "report/html_page.h"

namespace upkeep::report {
namespace {

struct Headline {
  std::string_view mood, pill;
  std::string title, lead;
};

std::string seconds_text(const Window& window) {
  return (window.exact ? "" : "at least ") +
         seconds_that_add_up(std::span(&window.length_ns, 1), decimals_for(window.length_ns))[0] + " s";
}

std::string names_of(const std::vector<CarriedTask>& carried) {
  std::string text;
  for (std::size_t i = 0; i < carried.size() && i < 5; ++i) {
    const auto& task = carried[i];
    text += (i == 0                    ? ""
             : i + 1 == carried.size() ? " and "
                                       : ", ") +
            (task.name.empty() ? fmt::format("process {}", task.pid) : shorten(printable(task.name), 32));
  }
  if (carried.size() > 5) text += fmt::format(" and {} more", carried.size() - 5);
  return text.empty() ? "What was carried" : text;
}

// "6.12.117" of "6.12.117+deb13-cloud-amd64".
std::string version_of(std::string_view release) {
  return shorten(printable(release.substr(0, std::min(release.find_first_of("+-"), release.size()))), 24);
}

std::string pause_lead(const Summary& summary) {
  if (!summary.window || !summary.window->closed) return "";
  return names_of(summary.carried) +
         (summary.window->crossed ? " went on after a pause of " : " stood still for ") +
         seconds_text(*summary.window) + ".";
}

std::string failure_lead(const Summary& summary) {
  std::string text = summary.message.empty() ? "It failed" : summary.message;
  if (!summary.stage.empty() && !text.starts_with(summary.stage + ":")) text = summary.stage + ": " + text;
  return text + (text.ends_with(".") ? " " : ". ") + pause_lead(summary);
}

Headline headline(const Summary& summary) {
  const std::string &from = summary.from, &to = summary.to;
  switch (summary.outcome) {
    case Outcome::upgraded:
      return {"good", "Upgraded", "Now running " + to, pause_lead(summary)};
    case Outcome::unsettled:
      return {"mild", "Not settled", "Now running " + to,
              pause_lead(summary) + " The last stage, settle, has not come to its end."};
    case Outcome::dry_run:
      return {"calm", "Dry run", "Rehearsed: " + version_of(from) + " to " + version_of(to),
              "Everything up to the jump was done, then undone. " + pause_lead(summary)};
    case Outcome::undone:
      return {"mild", "Undone", "Still running " + from, failure_lead(summary)};
    case Outcome::failed_before:
      return {"mild", "Nothing was touched", "Still running " + from, failure_lead(summary)};
    case Outcome::restore_failed:
      return {"bad", "Not restored", "Now running " + to + ", without what was carried",
              failure_lead(summary)};
    case Outcome::interrupted:
      return {"bad", "Interrupted",
              summary.stage.empty() ? "Interrupted before its first stage"
                                    : "Interrupted in stage " + summary.stage,
              "The journal breaks off here: the power failed, or the process was killed. Nobody works on it "
              "any more."};
    case Outcome::running:
      return {"calm", "Under way", "Upgrading to " + to,
              summary.stage.empty() ? "" : "In stage " + summary.stage + "."};
  }
  return {};
}

class Page {
 public:
  explicit Page(const Summary& summary) : summary_(summary) {}
  std::string html();

 private:
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    out_ += fmt::format(format, std::forward<Args>(args)...);
    out_ += '\n';
  }
  void tile(std::string_view value, std::string_view label) {
    add(R"(<div class="tile"><b>{}</b><span>{}</span></div>)", escaped(value), escaped(label));
  }
  void head(const Headline& line);
  void tiles();
  void window_table();
  void part_row(const Part& part, const std::string& seconds, std::int64_t longest);
  void stage_table();
  void stage_row(const std::string& name, const Step& step, bool is_undo);
  void carried();
  void warnings();
  void facts();

  const Summary& summary_;
  std::string out_;
};

void Page::head(const Headline& line) {
  add("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">");
  add(R"(<meta name="viewport" content="width=device-width, initial-scale=1">)");
  // Whatever a journal smuggles in: nothing is loaded, nothing is run.
  add(R"(<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">)");
  add("<title>{} · upkeep {}</title>\n<style>", escaped(line.title), escaped(summary_.id));
  out_ += kStyleSheet;
  add("</style>\n</head>\n<body>\n<main>\n<header>");
  add(R"(<span class="pill {}">{}</span>)", line.mood, line.pill);
  add("<h1>{}</h1>", escaped(line.title));
  if (!line.lead.empty()) add(R"(<p class="lead">{}</p>)", escaped(line.lead));
  std::string when = summary_.id.empty() ? "" : "Upgrade " + summary_.id + ", ";
  add(R"(<p class="when">{}begun {}</p>)", escaped(when), time_text(summary_.started_ns));
  add("</header>");
}

void Page::tiles() {
  add(R"(<div class="tiles">)");
  if (summary_.window) {
    tile(seconds_text(*summary_.window), summary_.window->crossed
                                             ? "window: first task stopped to last one running"
                                             : "pause of what was carried");
  }
  std::int64_t tasks = 0;
  for (const auto& task : summary_.carried) tasks += std::min<std::int64_t>(task.tasks, 1'000'000'000);
  if (!summary_.carried.empty())
    tile(fmt::format("{}", tasks), tasks == 1 ? "task carried" : "tasks carried");
  if (auto bytes = summary_.carried_bytes()) tile(bytes_text(*bytes), "carried in memory");
  if (auto fact = summary_.facts.find("predicted_window_s");
      fact != summary_.facts.end() && fact->is_number()) {
    tile(fact_text("predicted_window_s", *fact), "window expected of the real upgrade");
  }
  if (summary_.window) tile(duration_text(summary_.window->begin_ns), "of preparation while services ran");
  if (!summary_.from.empty() && !summary_.to.empty()) {
    bool went = !summary_.window || summary_.window->crossed;
    tile(version_of(summary_.from) + " → " + version_of(summary_.to),
         went ? "kernel" : "kernel that was asked for");
  }
  add("</div>");
}

void Page::part_row(const Part& part, const std::string& seconds, std::int64_t longest) {
  auto share = [](std::int64_t a, std::int64_t b) {
    return b > 0 ? 100.0 * static_cast<double>(a) / static_cast<double>(b) : 0.0;
  };
  std::string_view color = color_class(part.name);
  add(R"(<tr class="{}"><td class="name"><span class="chip"></span>{}</td><td class="n">{} s</td><td class="n soft">{:.1f} %</td><td class="meter"><i style="width:{:.2f}%"></i></td></tr>)",
      color, escaped(part.name), seconds, share(part.length_ns, summary_.window->length_ns),
      share(part.length_ns, longest));
  for (const auto& piece : part.inside) {
    add(R"(<tr class="inside"><td class="name">{}</td><td class="n">{}</td><td class="n">{:.1f} %</td><td></td></tr>)",
        escaped(piece.name), duration_text(piece.length_ns),
        share(piece.length_ns, summary_.window->length_ns));
  }
}

void Page::window_table() {
  if (!summary_.window) return;
  const Window& window = *summary_.window;
  std::vector<std::int64_t> lengths;
  std::int64_t longest = 0;
  for (const auto& part : window.parts) {
    lengths.push_back(part.length_ns);
    longest = std::max(longest, part.length_ns);
  }
  auto shown = seconds_that_add_up(lengths, decimals_for(window.length_ns));
  add("<section>\n<h2>{}, part by part</h2>\n<table>", window.crossed ? "The window" : "The pause");
  add(R"(<tr><th>Part</th><th class="n">Length</th><th class="n">Share</th><th></th></tr>)");
  for (std::size_t i = 0; i < window.parts.size(); ++i) part_row(window.parts[i], shown[i], longest);
  add(R"(<tr class="sum"><td>{}</td><td class="n">{}</td><td></td><td></td></tr>)",
      window.closed ? "Together" : "Together, not ended", seconds_text(window));
  add("</table>\n</section>");
}

void Page::stage_row(const std::string& name, const Step& step, bool is_undo) {
  add(R"(<tr{}><td class="name">{}{}</td><td><span class="state-{}">{}</span></td><td>{}</td><td class="n">{}</td><td class="n">{}</td><td class="soft">{}</td></tr>)",
      is_undo ? R"( class="inside")" : "", is_undo ? "↶ undo of " : "", escaped(name), to_text(step.state),
      to_text(step.state), step.side == Side::old_kernel ? "old" : "new", duration_text(step.begin_ns),
      duration_text(step.length_ns()), escaped(step.message));
}

void Page::stage_table() {
  add("<section>\n<h2>Stages</h2>\n<div class=\"scroll\"><table>");
  add(R"(<tr><th>Stage</th><th>State</th><th>Kernel</th><th class="n">Begun after</th><th class="n">Took</th><th>What it said</th></tr>)");
  // In the order of what happened: undoing begins when nothing else is begun any more.
  for (const auto& run : summary_.stages) stage_row(run.name, run, false);
  std::vector<const StageRun*> undone;
  for (const auto& run : summary_.stages) {
    if (run.undo) undone.push_back(&run);
  }
  std::stable_sort(undone.begin(), undone.end(),
                   [](auto* a, auto* b) { return a->undo->begin_ns < b->undo->begin_ns; });
  for (const auto* run : undone) stage_row(run->name, *run->undo, true);
  add("</table></div>\n</section>");
}

void Page::carried() {
  if (summary_.carried.empty() && summary_.stopped_units.empty()) return;
  add("<section>\n<h2>Carried</h2>\n<table>");
  add(R"(<tr><th>Process</th><th class="n">PID</th><th class="n">Tasks</th><th>Unit</th></tr>)");
  for (const auto& task : summary_.carried) {
    add(R"(<tr><td><b>{}</b></td><td class="n">{}</td><td class="n">{}</td><td class="soft">{}</td></tr>)",
        escaped(shorten(printable(task.name), 40)), task.pid, task.tasks, escaped(task.unit));
  }
  add("</table>");
  if (!summary_.stopped_units.empty()) {
    add(R"(<h2 style="margin-top:22px">Not carried: stopped before it, started again after it</h2><ul class="units">)");
    for (const auto& unit : summary_.stopped_units) add("<li>{}</li>", escaped(unit));
    add("</ul>");
  }
  add("</section>");
}

void Page::warnings() {
  if (summary_.warnings.empty()) return;
  add("<section>\n<h2>Notes</h2>\n<ul>");
  for (const auto& warning : summary_.warnings) {
    add(R"(<li><span class="pill mild">{}</span> {} <span class="soft">after {}</span></li>)",
        escaped(warning.stage.empty() ? "note" : warning.stage), escaped(warning.text),
        duration_text(warning.at_ns));
  }
  add("</ul>\n</section>");
}

void Page::facts() {
  auto shown = summary_.facts_for_people();
  if (summary_.deadline_s) shown["deadline_s"] = *summary_.deadline_s;
  if (shown.empty()) return;
  add("<section>\n<h2>Figures</h2>\n<table>");
  for (const auto& [name, value] : shown.items()) {
    std::string title = escaped(fact_title(name)), text = fact_text(name, value);
    if (columns(text) > 60) {
      add(R"(<tr><td colspan="2"><span class="soft">{}</span><br><code>{}</code></td></tr>)", title,
          escaped(text));
    } else {
      add(R"(<tr><td class="soft key">{}</td><td class="v">{}</td></tr>)", title, escaped(text));
    }
  }
  add("</table>\n</section>");
}

std::string Page::html() {
  head(headline(summary_));
  tiles();
  out_ += "<section>\n<h2>Timeline</h2>\n<div class=\"scroll\">\n" + timeline_svg(summary_) +
          "</div>\n</section>\n";
  add(R"(<div class="two"><div>)");
  window_table();
  warnings();
  add("</div><div>");
  carried();
  facts();
  add("</div></div>");
  stage_table();
  add("<footer>Made by upkeep {} from the journal of this upgrade. Times are counted from its first "
      "event.</footer>",
      UPKEEP_VERSION);
  add("</main>\n</body>\n</html>");
  return std::move(out_);
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : printable(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string_view color_class(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kClasses = {{
      {"park", "c-park"},
      {"snapshot", "c-snapshot"},
      {"jump", "c-jump"},
      {"land", "c-land"},
      {"restore", "c-restore"},
      {"resume", "c-resume"},
      {"undo", "c-undo"},
  }};
  for (const auto& [stage, css] : kClasses) {
    if (stage == name) return css;
  }
  return "c-other";
}

std::string html_page(const Summary& summary) { return Page(summary).html(); }

}  // namespace upkeep::report
