#include "report/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "report/format.h"
#include "report/paint.h"

namespace upkeep::report {
namespace {

constexpr std::size_t kNameWidth = 9;
constexpr std::array<const char*, 10> kFrames = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
constexpr std::array<const char*, 4> kPlainFrames = {"|", "/", "-", "\\"};

int percent_in(const Event& event) {
  auto it = event.data.find("percent");
  if (it == event.data.end() || !it->is_number()) return -1;
  double value = it->get<double>();
  return value >= 0 && value <= 100 ? static_cast<int>(value) : -1;
}

std::string text_of(const Event& event) {
  auto it = event.data.find("text");
  if (event.message.empty() && it != event.data.end() && it->is_string())
    return printable(it->get<std::string>());
  return printable(event.message);
}

}  // namespace

ProgressText::ProgressText(Style style, TextSink sink) : style_(style), sink_(std::move(sink)) {}

void ProgressText::operator()(const Event& event) {
  if (event.kind == "upgrade_begun") {
    erase();
    sink_(begun_line(event, style_) + "\n");
  } else if (event.kind == "stage_begun" || event.kind == "undo_begun") {
    begin(event);
  } else if (event.kind.starts_with("stage_") || event.kind.starts_with("undo_")) {
    end(event);
  } else if (event.kind == "progress") {
    say(event);
  } else if (event.kind == "warning") {
    line(style_.unicode ? "⚠" : "note", kYellow, event.stage, text_of(event), -1);
  } else if (event.kind == "upgrade_ended") {
    finish();
  }
}

void ProgressText::begin(const Event& event) {
  stage_ = event.stage;
  undoing_ = event.kind == "undo_begun";
  doing_ = text_of(event);
  percent_ = -1;
  told_percent_ = 0;
  begun_ns_ = event.time_ns;
}

void ProgressText::end(const Event& event) {
  std::int64_t length = event.stage == stage_ && begun_ns_ != 0 ? event.time_ns - begun_ns_ : -1;
  auto measured = event.data.find("duration_ns");
  if (measured != event.data.end() && measured->is_number_integer()) length = measured->get<std::int64_t>();
  bool undo = event.kind.starts_with("undo_"), failed = event.kind.ends_with("_failed");
  const char* mark = style_.unicode ? (failed ? "✗"
                                       : undo ? "↶"
                                              : "✓")
                                    : (failed ? "FAIL"
                                       : undo ? "undo"
                                              : "ok");
  std::string text = text_of(event);
  if (undo) text = (failed ? "undoing it failed" : "undone") + std::string(text.empty() ? "" : ": ") + text;
  line(mark, failed ? kRed : undo ? kYellow : kGreen, event.stage, text, length);
  stage_.clear();
}

void ProgressText::say(const Event& event) {
  std::string text = text_of(event);
  bool is_new = !text.empty() && text != doing_;
  if (is_new) doing_ = text;
  percent_ = percent_in(event);
  if (style_.live) return;
  // Where nothing can be drawn over: a line for each thing that is begun, and one for each quarter of it.
  const char* mark = style_.unicode ? "·" : "...";
  if (is_new && percent_ < 0) line(mark, kDim, event.stage, doing_, -1);
  if (percent_ < told_percent_ + 25 || percent_ >= 100) return;
  told_percent_ = percent_ / 25 * 25;
  line(mark, kDim, event.stage, fmt::format("{} {} %", doing_, percent_), -1);
}

void ProgressText::line(std::string_view mark, std::string_view color, const std::string& name,
                        const std::string& text, std::int64_t length_ns) {
  erase();
  std::string time = length_ns >= 0 ? ascii_unless(style_, duration_text(length_ns)) : "";
  std::string head = "  " + paint(style_, color, pad(mark, style_.unicode ? 1 : 4)) + " " +
                     paint(style_, kBold, pad(printable(name), kNameWidth)) + " ";
  std::size_t before = (style_.unicode ? 4U : 7U) + std::max(kNameWidth, columns(name)) + 1;
  auto width = static_cast<std::size_t>(std::min(style_.width, 100));
  if (time.empty()) {
    sink_(head + text + "\n");
    return;
  }
  // A text that is too long for the line keeps its length: it may be an error, and those are never cut.
  std::size_t room = width > before + 12 ? width - before - 12 : 0;
  sink_(head + pad(text, room) + "  " + paint(style_, kDim, pad_left(time, 10)) + "\n");
}

void ProgressText::tick(std::int64_t now_ns) {
  if (!style_.live || stage_.empty()) return;
  ++frame_;
  draw(now_ns);
}

void ProgressText::draw(std::int64_t now_ns) {
  erase();
  const char* frame =
      style_.unicode ? kFrames.at(frame_ % kFrames.size()) : kPlainFrames.at(frame_ % kPlainFrames.size());
  std::string text = undoing_ ? "undoing it" : doing_;
  if (percent_ >= 0) text += fmt::format("{}{} %", text.empty() ? "" : "  ", percent_);
  // Tenths of a second and nothing finer: figures that flicker are not read.
  std::int64_t tenths = std::max<std::int64_t>(0, now_ns - begun_ns_) / 100'000'000;
  std::string time =
      tenths < 600 ? fmt::format("{}.{} s", tenths / 10, tenths % 10) : duration_text(tenths * 100'000'000);
  auto width = static_cast<std::size_t>(std::min(style_.width, 100));
  std::size_t before = (style_.unicode ? 4U : 7U) + kNameWidth + 1;
  std::size_t room = width > before + 12 ? width - before - 12 : 0;
  sink_("  " + paint(style_, kCyan, pad(frame, style_.unicode ? 1 : 4)) + " " +
        paint(style_, kBold, pad(ascii_unless(style_, shorten(printable(stage_), kNameWidth)), kNameWidth)) +
        " " + pad(ascii_unless(style_, shorten(text, room)), room) + "  " +
        paint(style_, kDim, pad_left(time, 10)));
  drawn_ = true;
}

void ProgressText::erase() {
  if (drawn_) sink_("\r\33[K");
  drawn_ = false;
}

void ProgressText::finish() {
  erase();
  stage_.clear();
}

}  // namespace upkeep::report
