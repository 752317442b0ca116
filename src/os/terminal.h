#pragma once
// Terminals: what ioctl_tty(2) tells and sets, and what has been written to one side and not read on the
// other. The master side of a pseudo-terminal answers for both; its own side has no settings.

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <vector>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// struct termios2 of asm/termbits.h, which cannot be included beside glibc's termios.h.
struct TerminalAttributes {
  std::uint32_t input = 0, output = 0, control = 0, local = 0;
  std::uint8_t discipline = 0;
  std::array<std::uint8_t, 19> characters = {};
  std::uint32_t input_speed = 0, output_speed = 0;
};
static_assert(sizeof(TerminalAttributes) == 44);

// ENOTTY: it is no terminal. EIO: it has been hung up.
Result<TerminalAttributes> terminal_attributes(Fd fd);
Result<void> set_terminal_attributes(Fd fd, const TerminalAttributes& attributes);  // at once: TCSETS2
// st_rdev of the terminal behind FD, which may be /dev/tty, /dev/console or a master: there, of its slave.
Result<std::uint64_t> terminal_device(Fd fd);
// Whether the kernel lets us put characters into a terminal's input (TIOCSTI). From 6.2 to 6.5 a sysctl may
// forbid it to everybody.
bool may_put_input(Fd slave);

// What has been typed and not been read. In canonical mode each line is one of its own, and what has no end
// yet is the last one; else there is one, without an end.
struct TerminalLine {
  std::vector<std::uint8_t> data;
  bool complete = false;  // its last character ends it; where that is none that ends lines: end-of-file
  bool operator==(const TerminalLine&) const = default;
};
struct TerminalQueues {
  std::vector<std::uint8_t> output;  // written to the slave, for the master to read
  std::vector<TerminalLine> input;
  bool stopped = false;  // output is held back, by ^S or by tcflow(3)
};

// SLAVE: opened with O_NONBLOCK. MASTER: none for a device that is no pseudo-terminal.
struct TerminalSides {
  int master = -1;
  int slave = -1;
};
// Reading takes it away, so it is put back at once; by a process of its own, which goes on if this one is
// killed in between. Nobody else may be using the terminal. What could not be put back whole is refused
// before anything is read.
Result<TerminalQueues> look_into_queues(const TerminalSides& sides);
// Into a terminal whose queues are empty and whose attributes are set.
Result<void> put_queues(const TerminalSides& sides, const TerminalQueues& queues);

}  // namespace upkeep::os
