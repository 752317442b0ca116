#include "engine/inspect/files/terminal.h"

#include <fcntl.h>
#include <linux/kd.h>
#include <linux/vt.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "engine/inspect/calls/proc_text.h"
#include "os/borrow_descriptor.h"
#include "os/file.h"
#include "os/terminal.h"

namespace upkeep::engine {
namespace {

constexpr unsigned long kGetPacketMode = 0x80045438, kGetLock = 0x80045439,
                        kGetExclusive = 0x80045440;  // TIOCGPKT, TIOCGPTLCK, TIOCGEXCL

bool is_pseudo(std::uint64_t device) {
  constexpr unsigned kSlaves = 136;  // UNIX98_PTY_SLAVE_MAJOR of linux/major.h
  return major(device) == kSlaves;
}

// Where a terminal is held: which of the tree's descriptors lead to its two sides.
struct Holders {
  std::optional<DescriptorFacts> master, slave;
  pid_t controlled = 0;  // a living process whose controlling terminal it is
  pid_t any() const { return master ? master->pid : slave ? slave->pid : controlled; }
};

std::map<std::uint64_t, Holders> find_holders(const Snapshot& snapshot) {
  std::map<std::uint64_t, Holders> result;
  for (const auto& process : snapshot.processes) {
    if (process.terminal != 0) {
      auto& holders = result[process.terminal];
      if (holders.controlled == 0 && !process.exit_status) holders.controlled = process.pid;
    }
    for (const auto& descriptor : process.descriptors) {
      const auto& file = snapshot.files[descriptor.file];
      if (!file.terminal || file.terminal->device == 0) continue;
      auto& side =
          file.terminal->master ? result[file.terminal->device].master : result[file.terminal->device].slave;
      if (side) continue;
      side.emplace();
      side->pid = side->holder = process.pid;
      side->fd = side->number = descriptor.fd;
      side->link = file.name;
    }
  }
  return result;
}

int number_from(int fd, unsigned long request) {
  int value = 0;
  return ::ioctl(fd, request, &value) < 0 ? 0 : value;
}

TerminalAttributes as_model(const os::TerminalAttributes& attributes) {
  TerminalAttributes result;
  result.input = attributes.input, result.output = attributes.output;
  result.control = attributes.control, result.local = attributes.local;
  result.discipline = attributes.discipline;
  result.characters.data.assign(attributes.characters.begin(), attributes.characters.end());
  result.input_speed = attributes.input_speed, result.output_speed = attributes.output_speed;
  return result;
}

// A device's name as the kernel gives it: "tty1", "ttyS0".
Result<std::string> device_path(std::uint64_t device) {
  if (is_pseudo(device)) return fmt::format("/dev/pts/{}", minor(device));
  TRY_ASSIGN(const auto text,
             os::read_file(fmt::format("/sys/dev/char/{}:{}/uevent", major(device), minor(device))));
  constexpr std::string_view kKey = "DEVNAME=";
  const auto at = text.find(kKey);
  if (at == std::string::npos) return Err("device {}:{} has no name", major(device), minor(device));
  const auto end = text.find('\n', at);
  return "/dev/" + text.substr(at + kKey.size(), end - at - kKey.size());
}

class TerminalReader {
 public:
  TerminalReader(Snapshot& snapshot, std::uint64_t device, const Holders& holders)
      : snapshot_(snapshot), holders_(holders) {
    terminal_.device = device;
    terminal_.pseudo = is_pseudo(device);
  }

  Result<void> read() {
    TRY_ASSIGN(terminal_.path, device_path(terminal_.device));
    struct stat status = {};
    if (::stat(terminal_.path.c_str(), &status) < 0 || status.st_rdev != terminal_.device) {
      refuse("it is not among the terminals that are mounted here");
      return {};
    }
    terminal_.mode = status.st_mode & 07777U, terminal_.uid = status.st_uid, terminal_.gid = status.st_gid;
    if (terminal_.pseudo && !is_here(status.st_dev)) {
      refuse("it is one of another mount of devpts");
      return {};
    }
    if (terminal_.pseudo && !holders_.master) return {};  // named with its holder, terminal_users.cc
    auto side = open_side();
    if (!side) {
      refuse(side.error().message());
      return {};
    }
    if (!side->valid()) return {};
    TRY(read_settings(*side));
    TRY(read_session());
    snapshot_.terminals.push_back(terminal_);
    return {};
  }

 private:
  void refuse(std::string why, std::string remedy = "") {
    snapshot_.obstacles.push_back(
        {holders_.any(), "terminal " + terminal_.path, std::move(why), std::move(remedy)});
  }

  bool is_here(dev_t mount) const {
    struct stat status = {};
    for (const auto* side : {&holders_.master, &holders_.slave}) {
      if (!*side) continue;
      const auto directory = fmt::format("/proc/{}/root/dev/pts", (*side)->pid);
      if (::stat(directory.c_str(), &status) < 0 || status.st_dev != mount) return false;
      if (!(*side)->link.starts_with("/dev/pts/")) continue;
      const auto link = fmt::format("/proc/{}/fd/{}", (*side)->pid, (*side)->fd);
      if (::stat(link.c_str(), &status) < 0 || status.st_dev != mount) return false;
    }
    return true;
  }

  // What tells us of it: a description of our own, or the master where nobody has the slave open.
  Result<os::UniqueFd> open_side() {
    if (!terminal_.pseudo) return os::open_file(terminal_.path, O_RDWR | O_NOCTTY | O_NONBLOCK);
    TRY_ASSIGN(auto master, os::borrow_descriptor(holders_.master->pid, holders_.master->fd));
    TRY(read_master(master));
    if (holders_.slave) return os::open_file(terminal_.path, O_RDWR | O_NOCTTY | O_NONBLOCK);
    pollfd side = {master.get(), POLLIN, 0};
    (void)::poll(&side, 1, 0);
    terminal_.left = (side.revents & POLLHUP) != 0;
    if (!terminal_.left) {
      refuse("its other side has never been opened, and what was written to it does not show");
      return os::UniqueFd();
    }
    return master;
  }

  Result<void> read_master(os::Fd master) {
    terminal_.packets = number_from(master.get(), kGetPacketMode) != 0;
    if (number_from(master.get(), kGetLock) != 0) refuse("it is locked (TIOCSPTLCK)");
    if (number_from(master.get(), TIOCGETD) != 0) refuse("its master has a line discipline of its own");
    if (number_from(master.get(), TIOCGSID) != 0 && holders_.controlled == 0)
      refuse("it has a session, of which no process is part of the tree");
    return {};
  }

  Result<void> read_settings(os::Fd side) {
    winsize size = {};
    if (::ioctl(side.get(), TIOCGWINSZ, &size) < 0) return ErrnoErr("TIOCGWINSZ of {}", terminal_.path);
    terminal_.rows = size.ws_row, terminal_.columns = size.ws_col;
    terminal_.width = size.ws_xpixel, terminal_.height = size.ws_ypixel;
    TRY_ASSIGN(const auto attributes, os::terminal_attributes(side));
    terminal_.attributes = as_model(attributes);
    if (!terminal_.left) terminal_.exclusive = number_from(side.get(), kGetExclusive) != 0;
    if (attributes.discipline != 0)
      refuse(fmt::format("line discipline {} is not rebuilt by this version", attributes.discipline));
    if ((attributes.local & static_cast<std::uint32_t>(EXTPROC)) != 0)
      refuse("a line discipline that leaves its work to others (EXTPROC) is not rebuilt");
    look_at_screen(side);
    return {};
  }

  // A console that shows graphics belongs to a display server.
  void look_at_screen(os::Fd side) {
    constexpr unsigned kConsoles = 4, kLastConsole = 63;
    if (major(terminal_.device) != kConsoles || minor(terminal_.device) > kLastConsole) return;
    int mode = 0;
    vt_mode switching = {};
    if (::ioctl(side.get(), KDGETMODE, &mode) == 0 && mode != KD_TEXT)
      refuse("it shows graphics", "end the display server");
    if (::ioctl(side.get(), VT_GETMODE, &switching) == 0 && switching.mode != VT_AUTO)
      refuse("a process is asked before it is switched to", "end the display server");
  }

  Result<void> read_session() {
    if (holders_.controlled == 0) return {};
    TRY_ASSIGN(const auto text, os::read_file(fmt::format("/proc/{}/stat", holders_.controlled)));
    TRY_ASSIGN(const auto stat, StatFields::parse(text));
    terminal_.session = static_cast<std::int32_t>(stat[6]);
    terminal_.foreground = std::max(0, static_cast<std::int32_t>(stat[8]));
    const auto* leader = snapshot_.find(terminal_.session);
    if (leader != nullptr && leader->terminal != terminal_.device)
      refuse(fmt::format("the leader of its session, process {}, has let go of it", terminal_.session));
    return {};
  }

  Snapshot& snapshot_;
  const Holders& holders_;
  Terminal terminal_;
};

}  // namespace

Result<bool> read_terminal_end(const DescriptorFacts& facts, const struct stat& status, OpenFile& file,
                               std::vector<Obstacle>& obstacles) {
  constexpr unsigned kOther = 5, kMaster = 2;  // /dev/ptmx
  if ((file.flags & O_PATH) != 0) return false;
  TRY_ASSIGN(const auto fd, os::borrow_descriptor(facts.pid, facts.fd));
  const auto attributes = os::terminal_attributes(fd);
  if (!attributes && attributes.error().code() != EIO) return false;
  auto& end = file.terminal.emplace();
  file.kind = FileKind::terminal;
  if (!attributes) {
    if (!is_pseudo(status.st_rdev))
      obstacles.push_back(
          {facts.holder, facts.title(), "this terminal has been hung up", "restart the program"});
    return true;
  }
  end.master = major(status.st_rdev) == kOther && minor(status.st_rdev) == kMaster;
  TRY_ASSIGN(end.device, os::terminal_device(fd));
  return true;
}

Result<void> read_terminals(Snapshot& snapshot) {
  for (const auto& [device, holders] : find_holders(snapshot))
    TRY(TerminalReader(snapshot, device, holders).read());
  return {};
}

Result<void> read_terminal_queues(Snapshot& snapshot) {
  if (!snapshot.obstacles.empty()) return {};
  const auto holders = find_holders(snapshot);
  for (auto& terminal : snapshot.terminals) {
    const auto& held = holders.at(terminal.device);
    os::UniqueFd master;
    if (held.master) {
      TRY_ASSIGN(master, os::borrow_descriptor(held.master->pid, held.master->fd));
    }
    TRY_ASSIGN(const auto slave, os::open_file(terminal.path, O_RDWR | O_NOCTTY | O_NONBLOCK));
    auto queues = os::look_into_queues({master.get(), slave.get()});
    if (!queues) {
      snapshot.obstacles.push_back(
          {held.any(), "terminal " + terminal.path, queues.error().message(), "try again"});
      continue;
    }
    terminal.output.data = std::move(queues->output);
    for (auto& line : queues->input) terminal.input.push_back({{std::move(line.data)}, line.complete});
    terminal.stopped = queues->stopped;
    if (terminal.stopped && terminal.packets)
      snapshot.obstacles.push_back(
          {held.any(), "terminal " + terminal.path, "its output is held back, in packet mode", "type ^Q"});
  }
  return {};
}

}  // namespace upkeep::engine
