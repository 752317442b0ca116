#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "report/format.h"
#include "report/html_page.h"

namespace upkeep::report {
namespace {

// The drawing is 1040 units wide, which the page shows at about one pixel each.
constexpr double kWidth = 1040, kLeft = 138, kRight = 1030;
constexpr double kOldLane = 52, kNewLane = 104, kLaneHeight = 30, kAxis = 148;
constexpr double kZoomTop = 212, kZoomHeight = 46, kInsideHeight = 20, kLabelRow = 19;

double text_width(std::string_view text) { return 7.1 * static_cast<double>(columns(text)); }

struct Scale {
  double left, right;
  std::int64_t begin_ns, length_ns;
  double x(std::int64_t ns) const {
    if (length_ns <= 0) return left;
    double part = static_cast<double>(ns - begin_ns) / static_cast<double>(length_ns);
    return left + (right - left) * std::clamp(part, 0.0, 1.0);
  }
};

// Text beside bars, in as many rows as it takes for none to cover another.
class LabelRows {
 public:
  // Finds the first row that has room for WIDTH around CENTER; returns the row, and where the text begins.
  std::pair<std::size_t, double> place(double center, double width) {
    double begin = std::clamp(center - width / 2, kLeft, std::max(kLeft, kRight - width));
    std::size_t row = 0;
    while (row < ends_.size() && ends_[row] + 10 > begin) ++row;
    if (row == ends_.size()) ends_.push_back(0);
    ends_[row] = begin + width;
    return {row, begin};
  }
  std::size_t rows() const { return ends_.size(); }

 private:
  std::vector<double> ends_;
};

class Drawing {
 public:
  explicit Drawing(const Summary& summary)
      : summary_(summary), all_{kLeft, kRight, 0, std::max<std::int64_t>(summary.length_ns, 1)} {}
  std::string svg();

 private:
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    body_ += fmt::format(format, std::forward<Args>(args)...);
    body_ += '\n';
  }
  void bar(std::string_view css, double x, double width, double y, double height, const std::string& title,
           double radius = 4);
  void hatch(double x, double width, double y, double height, double opacity);
  void lanes();
  void ticks(const Scale& scale, std::int64_t origin_ns, double from_y, double to_y, double label_y);
  void band();
  void steps();
  void step(const std::string& name, const Step& step, bool is_undo);
  void crossing();
  void zoom();
  void zoom_part(const Part& part, const std::string& seconds, const Scale& scale, LabelRows& rows);
  void inside(const Part& part, const Scale& scale);
  double inside_height() const {  // of the row of smaller bars, where any part has been divided further
    const auto& parts = summary_.window->parts;
    bool any = std::any_of(parts.begin(), parts.end(), [](const Part& part) { return !part.inside.empty(); });
    return any ? kInsideHeight : 0;
  }
  double lane_y(Side side) const { return side == Side::old_kernel ? kOldLane : kNewLane; }
  bool in_window(const Step& step) const {
    if (!summary_.window) return false;
    std::int64_t begin = summary_.window->begin_ns, end = begin + summary_.window->length_ns;
    return step.end_ns > begin && step.begin_ns < end;
  }

  const Summary& summary_;
  Scale all_;
  std::string body_;
  LabelRows above_, below_;
  double height_ = kAxis + 30;
};

void Drawing::bar(std::string_view css, double x, double width, double y, double height,
                  const std::string& title, double radius) {
  add(R"(<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="{:.0f}"><title>{}</title></rect>)",
      css, x, y, std::max(width, 1.5), height, width > 3 * radius ? radius : 1, escaped(title));
}

void Drawing::hatch(double x, double width, double y, double height, double opacity) {
  add(R"(<rect class="hatched" opacity="{:.2f}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>)",
      opacity, x, y, width, height);
}

void Drawing::lanes() {
  bool crossed = std::any_of(summary_.stages.begin(), summary_.stages.end(),
                             [](const StageRun& run) { return run.side == Side::new_kernel; });
  for (Side side : {Side::old_kernel, Side::new_kernel}) {
    bool old_kernel = side == Side::old_kernel;
    double y = lane_y(side);
    add(R"(<rect class="lane" x="{:.0f}" y="{:.0f}" width="{:.0f}" height="{:.0f}" rx="6"/>)", kLeft, y,
        kRight - kLeft, kLaneHeight);
    add(R"(<text class="strong" x="0" y="{:.0f}">{}</text>)", y + 14,
        old_kernel ? "Old kernel" : "New kernel");
    std::string release = shorten(printable(old_kernel ? summary_.from : summary_.to), 20);
    add(R"(<text class="faint" x="0" y="{:.0f}">{}</text>)", y + 28, escaped(release));
    if (!old_kernel && !crossed) {
      add(R"(<text class="small" x="{:.0f}" y="{:.0f}">not entered</text>)", kLeft + 12, y + 20);
    }
  }
}

// At most about ten, at times that people count in.
void Drawing::ticks(const Scale& scale, std::int64_t origin_ns, double from_y, double to_y, double label_y) {
  static constexpr std::array<double, 23> kSteps = {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02,
                                                    0.05,   0.1,    0.2,    0.5,   1,     2,     5,    10,
                                                    30,     60,     300,    600,   1800,  3600,  86400};
  double seconds = static_cast<double>(scale.length_ns) / 1e9;
  double step = kSteps.back();
  for (double candidate : kSteps) {
    if (seconds / candidate <= 10) {
      step = candidate;
      break;
    }
  }
  step = std::max(step, seconds / 12);  // a journal that spans weeks
  for (int i = 0; i * step <= seconds * 1.0001; ++i) {
    auto at = static_cast<std::int64_t>(i * step * 1e9);
    double x = scale.x(origin_ns + at);
    add(R"(<path class="tick" d="M{:.1f} {:.0f}V{:.0f}"/>)", x, from_y, to_y);
    std::string text = step < 60 ? fmt::format("{:g} s", i * step) : duration_text(at);
    if (x < kRight - 14 || i == 0)
      add(R"(<text class="faint" x="{:.1f}" y="{:.0f}" text-anchor="middle">{}</text>)", x, label_y, text);
  }
}

void Drawing::band() {
  const Window& window = *summary_.window;
  double left = all_.x(window.begin_ns), right = all_.x(window.begin_ns + window.length_ns);
  add(R"(<rect class="band" x="{:.1f}" y="{:.0f}" width="{:.1f}" height="{:.0f}" rx="3"/>)", left,
      kOldLane - 8, std::max(right - left, 2.0), kNewLane + kLaneHeight + 16 - kOldLane);
}

void Drawing::step(const std::string& name, const Step& step, bool is_undo) {
  double left = all_.x(step.begin_ns), width = all_.x(step.end_ns) - left, y = lane_y(step.side);
  bool in = in_window(step);
  bool broken = step.state == StepState::failed || step.state == StepState::interrupted;
  std::string_view quiet = step.side == Side::old_kernel ? "c-old" : "c-new";
  std::string css(is_undo ? "c-undo" : in ? color_class(name) : quiet);
  if (broken) css += " broken";
  std::string shown = printable(name);
  std::string title = (is_undo ? "undo of " : "") + shown + ", " + to_text(step.state) + ", " +
                      duration_text(step.length_ns()) +
                      (step.message.empty() ? "" : ": " + printable(step.message));
  bar(css, left, width, y + (is_undo ? 7 : 3), kLaneHeight - (is_undo ? 14 : 6), title);
  if (is_undo && width > 4) hatch(left, width, y + 7, kLaneHeight - 14, 1);
  if (broken) {
    add(R"(<text class="fail" x="{:.1f}" y="{:.0f}" text-anchor="middle">✗</text>)", left + width, y + 45);
  }
  if (in || is_undo || (!broken && width < 3)) return;  // the window is labelled where it is enlarged
  shown = shorten(shown, 24);
  std::string time = duration_text(step.length_ns());
  if (width > text_width(shown) + 16) {
    add(R"(<text class="small strong" x="{:.1f}" y="{:.0f}">{}</text>)", left + 8, y + 20, escaped(shown));
    if (width > text_width(shown + time) + 34) {
      add(R"(<text class="small" x="{:.1f}" y="{:.0f}" text-anchor="end">{}</text>)", left + width - 8,
          y + 20, time);
    }
    return;
  }
  if (step.side == Side::new_kernel) return;  // its row of labels is the axis; the table has it
  auto [row, x] = above_.place(left + width / 2, text_width(shown));
  double label_y = kOldLane - 14 - static_cast<double>(row) * 14;
  if (row < 2) add(R"(<text class="small" x="{:.1f}" y="{:.0f}">{}</text>)", x, label_y, escaped(shown));
}

void Drawing::steps() {
  for (const auto& run : summary_.stages) {
    step(run.name, run, false);
    if (run.undo) step(run.name, *run.undo, true);
  }
  const StageRun* first = nullptr;
  for (const auto& run : summary_.stages) {
    if (run.undo && (first == nullptr || run.undo->begin_ns < first->undo->begin_ns)) first = &run;
  }
  if (first == nullptr) return;
  double x = all_.x(first->undo->begin_ns);
  add(R"(<path class="lead" d="M{:.1f} {:.0f}V{:.0f}"/>)", x, kOldLane - 10, kOldLane + kLaneHeight + 8);
  add(R"(<text class="small marker" x="{:.1f}" y="{:.0f}" text-anchor="{}">↶ undo</text>)", x,
      kOldLane + kLaneHeight + 20, x > kRight - 60 ? "end" : "start");
}

void Drawing::crossing() {
  for (std::size_t i = 0; i + 1 < summary_.stages.size(); ++i) {
    const auto& jump = summary_.stages[i];
    const auto& land = summary_.stages[i + 1];
    if (jump.side != Side::old_kernel || land.side != Side::new_kernel) continue;
    double from = all_.x(jump.begin_ns), to = all_.x(land.begin_ns);
    double middle = (kOldLane + kLaneHeight + kNewLane) / 2;
    add(R"(<path class="cross" d="M{:.1f} {:.0f}C{:.1f} {:.0f} {:.1f} {:.0f} {:.1f} {:.0f}"/>)", from,
        kOldLane + kLaneHeight, from, middle + 8, to, middle - 8, to, kNewLane);
  }
}

void Drawing::inside(const Part& part, const Scale& scale) {
  double y = kZoomTop + kZoomHeight + 3;
  int shade = 0;
  for (const auto& piece : part.inside) {
    double left = scale.x(piece.begin_ns), width = scale.x(piece.begin_ns + piece.length_ns) - left;
    double opacity = shade++ % 2 == 0 ? 0.62 : 0.45;
    add(R"(<g opacity="{:.2f}">)", opacity);
    bar(color_class(part.name), left, width - 1, y, kInsideHeight,
        printable(piece.name) + ", " + duration_text(piece.length_ns), 2);
    add("</g>");
    std::string name = shorten(printable(piece.name), 24), time = duration_text(piece.length_ns);
    std::string text = width > text_width(name + time) + 18 ? name + " " + time
                       : width > text_width(name) + 8       ? name
                                                            : "";
    if (!text.empty())
      add(R"(<text class="small" x="{:.1f}" y="{:.0f}" text-anchor="middle">{}</text>)", left + width / 2,
          y + 14, escaped(text));
  }
}

void Drawing::zoom_part(const Part& part, const std::string& seconds, const Scale& scale, LabelRows& rows) {
  double left = scale.x(part.begin_ns), width = scale.x(part.begin_ns + part.length_ns) - left;
  std::string name = shorten(printable(part.name), 28), both = name + " " + seconds + " s";
  bar(color_class(part.name), left, std::max(width - 1.5, 1.5), kZoomTop, kZoomHeight, both, 5);
  bool hatched = part.name == "undo" || part.name == "waiting";
  if (hatched && width > 6) {
    hatch(left, width - 1.5, kZoomTop, kZoomHeight, 0.35);
  }
  double middle = left + width / 2;
  if (width > std::max(text_width(name), text_width(seconds) + 8) + 16) {
    add(R"(<text class="on" x="{:.1f}" y="{:.0f}" text-anchor="middle">{}</text>)", middle, kZoomTop + 20,
        escaped(name));
    add(R"(<text class="on2" x="{:.1f}" y="{:.0f}" text-anchor="middle">{} s</text>)", middle, kZoomTop + 36,
        seconds);
    return;
  }
  auto [row, x] = rows.place(middle, text_width(both));
  if (row > 7) return;  // the table below has them all
  double base = kZoomTop + kZoomHeight + inside_height() + 24 + static_cast<double>(row) * kLabelRow;
  double anchor = std::clamp(middle, x + 4, x + text_width(both) - 4);
  add(R"(<path class="lead" d="M{:.1f} {:.0f}L{:.1f} {:.0f}"/>)", middle, kZoomTop + kZoomHeight, anchor,
      base - 11);
  add(R"(<text class="small" x="{:.1f}" y="{:.0f}"><tspan class="strong">{}</tspan> {} s</text>)", x, base,
      escaped(name), seconds);
}

void Drawing::zoom() {
  const Window& window = *summary_.window;
  if (window.length_ns <= 0) return;
  Scale scale{kLeft, kRight, window.begin_ns, window.length_ns};
  double left = all_.x(window.begin_ns),
         right = std::max(all_.x(window.begin_ns + window.length_ns), left + 2);
  double top = kNewLane + kLaneHeight + 8;
  body_.insert(0, fmt::format("<path class=\"fan\" d=\"M{:.1f} {:.0f}H{:.1f}L{:.0f} {:.0f}H{:.0f}Z\"/>\n",
                              left, top, right, kRight, kZoomTop, kLeft, kZoomTop));
  std::vector<std::int64_t> lengths;
  for (const auto& part : window.parts) lengths.push_back(part.length_ns);
  int decimals = decimals_for(window.length_ns);
  auto shown = seconds_that_add_up(lengths, decimals);
  add(R"(<text class="strong" x="0" y="{:.0f}">{}</text>)", kZoomTop + 20,
      window.crossed ? "The window" : "The pause");
  auto total = seconds_that_add_up(std::span(&window.length_ns, 1), decimals)[0];
  add(R"(<text class="small" x="0" y="{:.0f}">{}{} s{}</text>)", kZoomTop + 37,
      window.exact ? "" : "at least ", total, window.closed ? "" : ", not ended");
  LabelRows rows;
  for (std::size_t i = 0; i < window.parts.size(); ++i) zoom_part(window.parts[i], shown[i], scale, rows);
  for (const auto& part : window.parts) inside(part, scale);
  height_ = kZoomTop + kZoomHeight + inside_height() + 12 +
            static_cast<double>(std::min<std::size_t>(rows.rows(), 8)) * kLabelRow;
}

std::string Drawing::svg() {
  lanes();
  ticks(all_, 0, kOldLane - 4, kAxis, kAxis + 14);
  if (summary_.window) band();
  steps();
  crossing();
  if (summary_.window) zoom();
  double top = above_.rows() >= 2 ? 0 : above_.rows() == 1 ? 14 : 28;
  return fmt::format(
             "<svg viewBox=\"0 {:.0f} {:.0f} {:.0f}\" role=\"img\" aria-label=\"Timeline of the stages in "
             "both "
             "kernels\">\n"
             "<defs><pattern id=\"hatch\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" "
             "patternTransform=\"rotate(45)\">"
             "<path class=\"hatch\" d=\"M0 0V7\"/></pattern></defs>\n",
             top, kWidth, height_ - top) +
         body_ + "</svg>\n";
}

}  // namespace

std::string timeline_svg(const Summary& summary) { return Drawing(summary).svg(); }

}  // namespace upkeep::report
