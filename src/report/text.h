#pragma once
// An upgrade as text: told while it happens, summed up afterwards, and listed with those before it.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "common/event.h"
#include "report/summary.h"

namespace upkeep::report {

struct Style {
  bool live = false;  // a terminal: the last line may be drawn over
  bool color = false;
  bool unicode = false;  // else ASCII only
  int width = 80;
};
// What standard output or error (FD) can show: isatty, TERM, NO_COLOR, the locale's character set, the window
// size.
Style style_of(int fd);

using TextSink = std::function<void(std::string_view)>;

// Tells an upgrade stage by stage: one line for each, with what it did and how long it took. Where the style
// is live, a last line with a spinner, the percentage and the time so far is kept up to date by tick().
//
//   report::ProgressText progress(report::style_of(1), [](auto text) { write_all(1, text); });
//   ... progress(event) for each event, progress.tick(now) every 100 ms or so ...
//   progress.finish();
class ProgressText {
 public:
  ProgressText(Style style, TextSink sink);

  void operator()(const Event& event);
  // NOW: CLOCK_REALTIME, nanoseconds, as in events. Draws nothing where the style is not live.
  void tick(std::int64_t now_ns);
  // Clears the last line; what is written next starts at the beginning of a line.
  void finish();

 private:
  void line(std::string_view mark, std::string_view color, const std::string& name, const std::string& text,
            std::int64_t length_ns);
  void draw(std::int64_t now_ns);
  void erase();
  void begin(const Event& event);
  void end(const Event& event);
  void say(const Event& event);

  Style style_;
  TextSink sink_;
  std::string stage_;  // now running; empty: none
  bool undoing_ = false;
  std::string doing_;     // what its last progress event said
  int percent_ = -1;      // -1: not known
  int told_percent_ = 0;  // plain output tells each quarter once
  std::int64_t begun_ns_ = 0;
  unsigned frame_ = 0;
  bool drawn_ = false;
};

// The end of the story: what runs now, the window and its parts, what else is worth knowing. Several lines.
std::string summary_text(const Summary& summary, const Style& style);
// One line: "upgraded 6.12.117 → 7.3.4, window 6.93 s".
std::string outcome_line(const Summary& summary, const Style& style);
// A table, one line for each upgrade, in the order given.
std::string history_text(std::span<const Summary> upgrades, const Style& style);

}  // namespace upkeep::report
