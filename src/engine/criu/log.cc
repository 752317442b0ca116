#include "engine/criu/log.h"

#include <array>

namespace upkeep::engine::criu {
namespace {

struct Known {
  std::string_view text;  // part of criu's line
  std::string_view remedy;
};

constexpr std::array kKnown = {
    Known{
        "doesn't belong to the target user namespace",
        "it has a user namespace of its own, as systemd makes with PrivateUsers=: start it outside its unit"},
    Known{"doesn't live in IPC ns", "it uses System V shared memory"},
    Known{"half of stream unix connection",
          "a stream socket leads to a program that is not carried: carry that too, or start the task with "
          "its output going elsewhere"},
    Known{"External socket is used", "a Unix socket leads to a program that is not carried"},
    Known{
        "dangling tty",
        "its terminal belongs to a session that is not carried: start it with setsid and without a terminal"},
    Known{"Can't dump file", "it holds a kind of file that criu cannot carry"},
    Known{"increase limit", "an unlinked file that it holds open is too large"},
    Known{"unreachable sharing",
          "it has a mount namespace of its own, as systemd makes for hardened units: start it outside its "
          "unit"},
    Known{"is already traced", "a debugger is attached to it: detach it"},
    Known{"Pid ", "a PID that it needs is taken"},
    Known{"No space left", "the place for the images is full"},
    Known{"File too large", "the write of its images was stopped"},
    Known{"Unable to interrupt task", "a debugger is attached to it, or it cannot be traced"},
    Known{"Can't seize", "a debugger is attached to it, or it cannot be traced"},
    Known{"has bad size", "a file that it has open changed its size since"},
    Known{"has bad mode", "a file that it has open changed its mode since"},
    Known{"Connected TCP socket in image", "connections were not asked for"},
};

std::string_view cut_line(std::string_view& text) {
  auto end = text.find('\n');
  auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

}  // namespace

std::vector<std::string> error_lines(std::string_view log) {
  std::vector<std::string> lines;
  while (!log.empty()) {
    auto line = cut_line(log);
    auto error = line.find("Error (");
    if (error == std::string_view::npos) continue;
    auto colon = line.find("): ", error);
    if (colon == std::string_view::npos) continue;
    auto text = line.substr(colon + 3);
    if (!text.starts_with("rlimit:")) lines.emplace_back(text);  // criu goes on without CAP_SYS_RESOURCE
  }
  return lines;
}

std::string explain(std::string_view log) {
  auto lines = error_lines(log);
  if (lines.empty()) return "";
  // What follows the first error are its consequences ("Dump files (pid: 412) failed with -1", "Dumping
  // FAILED.").
  std::string text = "criu: " + lines.front();
  for (const auto& line : lines) {
    for (const auto& known : kKnown) {
      if (line.find(known.text) == std::string::npos) continue;
      if (line != lines.front()) text += "; " + line;
      return text + " (" + std::string(known.remedy) + ")";
    }
  }
  return text;
}

}  // namespace upkeep::engine::criu
