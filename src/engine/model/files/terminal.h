#pragma once
// Terminals, and the descriptors that lead to one: pseudo-terminals (pty(7)), whose master side is part of the
// tree, and devices such as /dev/tty1, which are there without us.

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

// termios(3), as the kernel keeps it (struct termios2).
struct TerminalAttributes {
  std::uint32_t input = 0, output = 0, control = 0, local = 0;
  std::uint32_t discipline = 0;
  Bytes characters;  // 19
  std::uint32_t input_speed = 0, output_speed = 0;
  bool operator==(const TerminalAttributes&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("input", self.input);
    visit("output", self.output);
    visit("control", self.control);
    visit("local", self.local);
    visit("discipline", self.discipline);
    visit("characters", self.characters);
    visit("input_speed", self.input_speed);
    visit("output_speed", self.output_speed);
  }
};

// Typed and not read yet. In canonical mode one for each line; what has no end yet is the last one. Where a
// complete one does not end with a character that ends lines, end-of-file has ended it.
struct TypedLine {
  Bytes data;
  bool complete = false;
  bool operator==(const TypedLine&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("data", self.data);
    visit("complete", self.complete);
  }
};

struct Terminal {
  std::uint64_t device = 0;                  // st_rdev of its device file, by which everything else names it
  std::string path;                          // "/dev/pts/3", "/dev/tty1"
  std::uint32_t mode = 0, uid = 0, gid = 0;  // of that file
  std::uint32_t rows = 0, columns = 0, width = 0, height = 0;
  TerminalAttributes attributes;
  bool pseudo = false;
  bool packets = false;                      // TIOCPKT
  bool exclusive = false;                    // TIOCEXCL
  bool left = false;                         // nobody has the slave side open any more: a master reads EIO
  bool stopped = false;                      // output is held back by ^S
  std::int32_t session = 0, foreground = 0;  // 0: none
  Bytes output;                              // not read by the master yet
  std::vector<TypedLine> input;              // not read by the slave yet
  bool operator==(const Terminal&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("device", self.device);
    visit("path", self.path);
    visit("mode", self.mode);
    visit("uid", self.uid);
    visit("gid", self.gid);
    visit("rows", self.rows);
    visit("columns", self.columns);
    visit("width", self.width);
    visit("height", self.height);
    visit("attributes", self.attributes);
    visit("pseudo", self.pseudo);
    visit("packets", self.packets);
    visit("exclusive", self.exclusive);
    visit("left", self.left);
    visit("stopped", self.stopped);
    visit("session", self.session);
    visit("foreground", self.foreground);
    visit("output", self.output);
    visit("input", self.input);
  }
};

// An open file that leads to a terminal.
struct TerminalEnd {
  std::uint64_t device = 0;  // Terminal::device; 0: one that was hung up, all of which behave alike
  bool master = false;
  bool operator==(const TerminalEnd&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("device", self.device);
    visit("master", self.master);
  }
};

// How messages call it.
inline std::string title_of(const Terminal& terminal, std::size_t) { return terminal.path; }
Result<void> validate(const std::vector<Terminal>& terminals, const KnownObjects& known);
Result<void> validate(const Terminal& terminal, const KnownObjects& known);
Result<void> validate(const TerminalEnd& terminal_end, const KnownObjects& known);

}  // namespace upkeep::engine
