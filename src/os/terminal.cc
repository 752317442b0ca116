#include "os/terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include <algorithm>
#include <csignal>
#include <ctime>

#include "os/child.h"
#include "os/file.h"

namespace upkeep::os {
namespace {

constexpr unsigned long kGetAttributes = 0x802c542a, kSetAttributes = 0x402c542b;  // TCGETS2, TCSETS2
constexpr unsigned long kGetDevice = 0x80045432;                                   // TIOCGDEV
// Of the 4096 bytes that a line discipline holds: more than this, and more may be waiting before it.
constexpr int kMostInput = 3500;
constexpr std::size_t kMostOutput = 65536;
constexpr std::uint8_t kQuote = 0x16, kEndOfFile = 0x04;

int unread(int fd) {
  int count = 0;
  return ::ioctl(fd, FIONREAD, &count) < 0 ? 0 : count;
}

// Also makes the kernel pass on what it has not yet passed on.
short ready_for(int fd, short events) {
  pollfd wanted = {fd, events, 0};
  return ::poll(&wanted, 1, 0) < 0 ? static_cast<short>(0) : wanted.revents;
}

bool has(const TerminalAttributes& attributes, std::uint32_t local) {
  return (attributes.local & local) != 0;
}
std::uint8_t character(const TerminalAttributes& attributes, int which) {
  return attributes.characters[static_cast<std::size_t>(which)];
}

Result<void> put_character(int slave, std::uint8_t character) {
  const char value = static_cast<char>(character);
  if (::ioctl(slave, TIOCSTI, &value) < 0) return ErrnoErr("putting input into a terminal");
  return {};
}

// Everything arrives as it is: nothing is edited, echoed, or taken for a signal. Flow control stays, because
// a master in packet mode is told of changes to it.
TerminalAttributes plain(const TerminalAttributes& attributes) {
  auto result = attributes;
  result.input &= static_cast<std::uint32_t>(IXON);
  result.output = 0;
  result.local = has(attributes, ICANON) ? static_cast<std::uint32_t>(ICANON | IEXTEN) : 0;
  for (std::size_t i = 0; i < result.characters.size(); ++i) {
    if (i != VSTART && i != VSTOP) result.characters[i] = 0;
  }
  if (has(attributes, ICANON)) {
    result.characters[VLNEXT] = kQuote;
    result.characters[VEOF] = kEndOfFile;
  }
  return result;
}

class Attributes {
 public:
  static Result<Attributes> keep(int slave) {
    TRY_ASSIGN(const auto before, terminal_attributes(Fd(slave)));
    return Attributes(slave, before);
  }
  const TerminalAttributes& before() const { return before_; }
  Result<void> set(const TerminalAttributes& attributes) const {
    return set_terminal_attributes(Fd(slave_), attributes);
  }
  Result<void> put_back() const { return set(before_); }

 private:
  Attributes(int slave, const TerminalAttributes& before) : slave_(slave), before_(before) {}
  int slave_;
  TerminalAttributes before_;
};

Result<bool> read_some(int fd, std::vector<std::uint8_t>& into) {
  std::array<std::uint8_t, 8192> buffer;
  const ssize_t got = ::read(fd, buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EIO)) return false;
  if (got < 0) return ErrnoErr("reading what was typed");
  into.insert(into.end(), buffer.begin(), buffer.begin() + got);
  return true;
}

Result<void> take_input(int slave, const Attributes& attributes, std::vector<TerminalLine>& input) {
  const bool canonical = has(attributes.before(), ICANON);
  constexpr int kMostLines = 4096;
  for (int i = 0; canonical && i < kMostLines; ++i) {
    TerminalLine line;
    line.complete = true;
    TRY_ASSIGN(const bool more, read_some(slave, line.data));
    if (!more) break;
    input.push_back(std::move(line));
  }
  // A line without an end shows only in the other mode.
  auto raw = attributes.before();
  raw.local &= ~static_cast<std::uint32_t>(ICANON);
  if (canonical) TRY(attributes.set(raw));
  TerminalLine rest;
  while (unread(slave) != 0 || (ready_for(slave, POLLIN) & POLLIN) != 0) {
    TRY_ASSIGN(const bool more, read_some(slave, rest.data));
    if (!more) break;
  }
  if (!rest.data.empty()) input.push_back(std::move(rest));
  if (canonical) TRY(attributes.put_back());
  return {};
}

Result<void> put_end(int slave, const Attributes& attributes, std::uint8_t last, TerminalAttributes& mode) {
  const auto& wanted = attributes.before();
  if (last == '\n') return put_character(slave, last);
  const bool ends = last != 0 && (last == character(wanted, VEOL) || (last == character(wanted, VEOL2)));
  if (!ends) {  // end-of-file ended it
    TRY(put_character(slave, kQuote));
    TRY(put_character(slave, last));
    return put_character(slave, kEndOfFile);
  }
  mode.characters[VEOL] = last;
  TRY(attributes.set(mode));
  TRY(put_character(slave, last));
  mode.characters[VEOL] = 0;
  return attributes.set(mode);
}

Result<void> put_canonical(int slave, const Attributes& attributes, const std::vector<TerminalLine>& input,
                           TerminalAttributes mode) {
  for (const auto& line : input) {
    if (line.complete && line.data.empty()) TRY(put_character(slave, kEndOfFile));
    for (std::size_t i = 0; i < line.data.size(); ++i) {
      if (line.complete && i + 1 == line.data.size()) {
        TRY(put_end(slave, attributes, line.data[i], mode));
        continue;
      }
      TRY(put_character(slave, kQuote));
      TRY(put_character(slave, line.data[i]));
    }
  }
  return {};
}

Result<void> put_input(int slave, const Attributes& attributes, const std::vector<TerminalLine>& input) {
  if (input.empty()) return {};
  auto mode = plain(attributes.before());
  const bool canonical = has(mode, ICANON);
  auto flow = [&](std::uint8_t c) { return c == character(mode, VSTART) || c == character(mode, VSTOP); };
  for (const auto& line : input) {  // typed before flow control was switched on
    if (!canonical && std::any_of(line.data.begin(), line.data.end(), flow)) mode.input = 0;
  }
  TRY(attributes.set(mode));
  if (canonical) {
    TRY(put_canonical(slave, attributes, input, mode));
  } else {
    for (const auto& line : input) {
      for (auto c : line.data) TRY(put_character(slave, c));
    }
  }
  return attributes.put_back();
}

Result<void> take_output(int master, bool packets, std::vector<std::uint8_t>& output) {
  while (output.size() < kMostOutput && (ready_for(master, POLLIN) & POLLIN) != 0) {
    std::vector<std::uint8_t> some;
    TRY_ASSIGN(const bool more, read_some(master, some));
    if (!more || some.empty()) break;
    output.insert(output.end(), some.begin() + (packets ? 1 : 0), some.end());
  }
  return {};
}

// How much of OUTPUT, from DONE on, the terminal takes within TRIES of half a millisecond in a row in which
// it takes nothing: what it holds it passes on in its own time.
Result<void> put_pieces(int slave, const std::vector<std::uint8_t>& output, std::size_t piece, int tries,
                        std::size_t& done) {
  for (int left = tries; done < output.size() && left > 0;) {
    const ssize_t put = ::write(slave, output.data() + done, std::min(piece, output.size() - done));
    if (put < 0 && errno != EAGAIN) return ErrnoErr("putting output into a terminal");
    if (put > 0) {
      done += static_cast<std::size_t>(put);
      left = tries;
      continue;
    }
    const timespec pause = {0, 500'000};
    ::nanosleep(&pause, nullptr);
    --left;
  }
  return {};
}

// How much fits depends on the sizes of what is written: the kernel's buffers (drivers/tty/tty_buffer.c) are
// as large as the piece that each of them began with, and single bytes leave no room in them unused. Where
// output is processed (OPOST), a terminal says sooner that it is full than where it is not: as soon as it did
// before, where possible, so that whoever waited for room does so again.
Result<void> put_output(int slave, const Attributes& attributes, const std::vector<std::uint8_t>& output) {
  if (output.empty()) return {};
  constexpr std::size_t kFitsAnyway = 8192;
  const std::size_t piece = output.size() > kFitsAnyway ? 1 : output.size();
  auto mode = attributes.before();
  std::size_t done = 0;
  mode.output &= static_cast<std::uint32_t>(OPOST);  // it has been processed
  TRY(attributes.set(mode));
  TRY(put_pieces(slave, output, piece, 40, done));
  mode.output = 0;
  if (done != output.size()) TRY(attributes.set(mode));
  TRY(put_pieces(slave, output, piece, 2000, done));
  TRY(attributes.put_back());
  if (done != output.size())
    return Err("{} of {} bytes do not fit into a terminal", output.size() - done, output.size());
  return {};
}

// ^S where the terminal knows it, for ^Q does not end what tcflow(3) has begun.
Result<void> hold_output(int slave, const TerminalAttributes& attributes, bool hold) {
  const auto key = character(attributes, hold ? VSTOP : VSTART);
  if ((attributes.input & static_cast<std::uint32_t>(IXON)) != 0 && key != 0)
    return put_character(slave, key);
  if (::ioctl(slave, TCXONC, hold ? TCOOFF : TCOON) < 0) return ErrnoErr("tcflow");
  return {};
}

bool holds_output(int slave) { return (ready_for(slave, POLLOUT) & POLLOUT) == 0; }

Result<void> put_all(const TerminalSides& sides, const TerminalQueues& queues) {
  TRY_ASSIGN(const auto attributes, Attributes::keep(sides.slave));
  if (holds_output(sides.slave) && !queues.output.empty())
    TRY(hold_output(sides.slave, attributes.before(), false));
  TRY(put_output(sides.slave, attributes, queues.output));
  TRY(put_input(sides.slave, attributes, queues.input));
  if (queues.stopped && !holds_output(sides.slave)) TRY(hold_output(sides.slave, attributes.before(), true));
  return {};
}

Result<TerminalQueues> take_and_put_back(const TerminalSides& sides) {
  TerminalQueues queues;
  TRY_ASSIGN(const auto attributes, Attributes::keep(sides.slave));
  if (sides.master >= 0) {
    int packets = 0;
    if (::ioctl(sides.master, TIOCGPKT, &packets) < 0) return ErrnoErr("TIOCGPKT");
    TRY(take_output(sides.master, packets != 0, queues.output));
    queues.stopped = holds_output(sides.slave);
  }
  auto taken = take_input(sides.slave, attributes, queues.input);
  TRY(put_all(sides, queues));
  TRY(std::move(taken));
  return queues;
}

// What the process of its own tells, in memory that is shared with it.
struct Told {
  bool ended_well, stopped;
  std::array<char, 256> error;
  std::size_t output_size, lines;
  std::array<std::uint8_t, kMostOutput + 8192> output;
  struct Line {
    std::size_t size;
    bool complete;
  };
  std::array<Line, 8192> line;
  std::array<std::uint8_t, 65536> input;
};

void tell(const Result<TerminalQueues>& queues, Told& told) {
  if (!queues) {
    const auto& text = queues.error().message();
    std::copy_n(text.begin(), std::min(text.size(), told.error.size() - 1), told.error.begin());
    return;
  }
  told.output_size = std::min(queues->output.size(), told.output.size());
  std::copy_n(queues->output.begin(), told.output_size, told.output.begin());
  auto* at = told.input.begin();
  for (const auto& line : queues->input) {
    if (told.lines == told.line.size() || line.data.size() > static_cast<std::size_t>(told.input.end() - at))
      return;
    told.line[told.lines++] = {line.data.size(), line.complete};
    at = std::copy(line.data.begin(), line.data.end(), at);
  }
  told.stopped = queues->stopped;
  told.ended_well = true;
}

TerminalQueues read_back(const Told& told) {
  TerminalQueues queues;
  queues.output.assign(told.output.begin(), told.output.begin() + told.output_size);
  const auto* at = told.input.begin();
  for (std::size_t i = 0; i < told.lines; ++i) {
    queues.input.push_back({{at, at + told.line[i].size}, told.line[i].complete});
    at += told.line[i].size;
  }
  queues.stopped = told.stopped;
  return queues;
}

Result<TerminalQueues> take_in_a_process_of_its_own(const TerminalSides& sides) {
  void* shared = ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return ErrnoErr("mmap");
  auto* told = static_cast<Told*>(shared);
  auto work = [&]() -> Result<TerminalQueues> {
    TRY_ASSIGN(const auto child, fork_child([&]() -> int {
                 sigset_t all;
                 sigfillset(&all);
                 ::sigprocmask(SIG_SETMASK, &all, nullptr);
                 tell(take_and_put_back(sides), *told);
                 return 0;
               }));
    TRY_ASSIGN(const auto status, wait_child(child, std::chrono::seconds(10)));
    if (told->error[0] != 0) return Err("{}", told->error.data());
    if (!told->ended_well) return Err("the process that looks into its queues: {}", status.text());
    return read_back(*told);
  };
  auto result = work();
  ::munmap(shared, sizeof(Told));
  return result;
}

}  // namespace

Result<TerminalAttributes> terminal_attributes(Fd fd) {
  TerminalAttributes attributes;
  if (::ioctl(fd.get(), kGetAttributes, &attributes) < 0) return ErrnoErr("TCGETS2");
  return attributes;
}

Result<void> set_terminal_attributes(Fd fd, const TerminalAttributes& attributes) {
  if (::ioctl(fd.get(), kSetAttributes, &attributes) < 0) return ErrnoErr("TCSETS2");
  return {};
}

Result<std::uint64_t> terminal_device(Fd fd) {
  std::uint32_t encoded = 0;  // as the kernel's new_encode_dev()
  if (::ioctl(fd.get(), kGetDevice, &encoded) < 0) return ErrnoErr("TIOCGDEV");
  return makedev((encoded >> 8U) & 0xfffU, (encoded & 0xffU) | ((encoded >> 12U) & 0xfff00U));
}

// The kernel looks at permission before it looks at the character.
bool may_put_input(Fd slave) { return ::ioctl(slave.get(), TIOCSTI, nullptr) < 0 && errno == EFAULT; }

Result<TerminalQueues> look_into_queues(const TerminalSides& sides) {
  TRY_ASSIGN(const auto attributes, terminal_attributes(Fd(sides.slave)));
  const bool typed = (ready_for(sides.slave, POLLIN) & POLLIN) != 0 || unread(sides.slave) != 0;
  const short master = sides.master < 0 ? static_cast<short>(0) : ready_for(sides.master, POLLIN | POLLPRI);
  if ((master & POLLPRI) != 0) return Err("a change of state in packet mode has not been read");
  const bool held = sides.master >= 0 && holds_output(sides.slave);
  // In canonical mode a line that has no end yet does not show.
  if (!typed && (master & POLLIN) == 0 && !has(attributes, ICANON)) {
    TerminalQueues none;
    none.stopped = held;
    return none;
  }
  if (unread(sides.slave) > kMostInput) return Err("more has been typed than could be put back");
  if (!may_put_input(Fd(sides.slave)))
    return Err("what has been typed could not be put back (sysctl dev.tty.legacy_tiocsti)");
  return take_in_a_process_of_its_own(sides);
}

Result<void> put_queues(const TerminalSides& sides, const TerminalQueues& queues) {
  return put_all(sides, queues);
}

}  // namespace upkeep::os
