#include "engine/rebuild/files/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "os/file.h"
#include "os/terminal.h"

namespace upkeep::engine {
namespace {

Result<os::UniqueFd> new_master() { return os::open_file("/dev/ptmx", O_RDWR | O_NOCTTY); }

Result<unsigned> number_of(os::Fd master) {
  unsigned number = 0;
  if (::ioctl(master.get(), TIOCGPTN, &number) < 0) return ErrnoErr("TIOCGPTN");
  return number;
}

Result<void> unlock(os::Fd master) {
  const int no = 0;
  if (::ioctl(master.get(), TIOCSPTLCK, &no) < 0) return ErrnoErr("TIOCSPTLCK");
  return {};
}

os::TerminalAttributes as_kernel(const TerminalAttributes& wanted) {
  os::TerminalAttributes result;
  result.input = wanted.input, result.output = wanted.output;
  result.control = wanted.control, result.local = wanted.local;
  result.discipline = static_cast<std::uint8_t>(wanted.discipline);
  const auto& characters = wanted.characters.data;
  std::copy_n(characters.begin(), std::min(characters.size(), result.characters.size()),
              result.characters.begin());
  result.input_speed = wanted.input_speed, result.output_speed = wanted.output_speed;
  return result;
}

Result<void> set_size(os::Fd side, const Terminal& terminal) {
  winsize size = {}, wanted = {};
  wanted.ws_row = static_cast<unsigned short>(terminal.rows);
  wanted.ws_col = static_cast<unsigned short>(terminal.columns);
  wanted.ws_xpixel = static_cast<unsigned short>(terminal.width);
  wanted.ws_ypixel = static_cast<unsigned short>(terminal.height);
  if (::ioctl(side.get(), TIOCGWINSZ, &size) < 0) return ErrnoErr("TIOCGWINSZ");
  // A console's size is its screen's: it is changed only where it is another one.
  const bool same = size.ws_row == wanted.ws_row && size.ws_col == wanted.ws_col &&
                    size.ws_xpixel == wanted.ws_xpixel && size.ws_ypixel == wanted.ws_ypixel;
  if (!same && ::ioctl(side.get(), TIOCSWINSZ, &wanted) < 0) return ErrnoErr("TIOCSWINSZ");
  return {};
}

Result<void> set_up(const Terminal& terminal, const os::TerminalSides& sides) {
  const os::Fd slave(sides.slave);
  struct stat status = {};
  if (::fstat(slave.get(), &status) < 0) return ErrnoErr("fstat");
  if (status.st_rdev != terminal.device) return Err("it is another device now");
  if (::fchown(slave.get(), terminal.uid, terminal.gid) < 0 || ::fchmod(slave.get(), terminal.mode) < 0)
    return ErrnoErr("owner and mode");
  TRY(set_size(slave, terminal));
  TRY(os::set_terminal_attributes(slave, as_kernel(terminal.attributes)));
  os::TerminalQueues queues;
  queues.output = terminal.output.data;
  queues.stopped = terminal.stopped;
  for (const auto& line : terminal.input) queues.input.push_back({line.data.data, line.complete});
  return os::put_queues(sides, queues);
}

Result<os::UniqueFd> open_hung_up(const OpenFile& file) {
  TRY_ASSIGN(const auto master, new_master());
  TRY(unlock(master));
  TRY_ASSIGN(const auto number, number_of(master));
  return os::open_file(fmt::format("/dev/pts/{}", number), static_cast<int>(file.flags) | O_NOCTTY);
}

}  // namespace

Result<void> Terminals::make_pseudo(const std::vector<const Terminal*>& wanted) {
  std::vector<os::UniqueFd> in_between;
  for (const auto* terminal : wanted) {
    for (;;) {
      TRY_ASSIGN(auto master, new_master());
      TRY_ASSIGN(const auto number, number_of(master));
      if (number > minor(terminal->device)) return Err("{} is in use by another process", terminal->path);
      if (number < minor(terminal->device)) {
        in_between.push_back(std::move(master));
        continue;
      }
      TRY(unlock(master));
      TRY_ASSIGN(auto slave, os::open_file(terminal->path, O_RDWR | O_NOCTTY | O_NONBLOCK));
      made_[terminal->device] = {terminal, std::move(master), std::move(slave)};
      break;
    }
  }
  return {};
}

Result<void> Terminals::make(const Snapshot& snapshot) {
  std::vector<const Terminal*> pseudo;
  for (const auto& terminal : snapshot.terminals) {
    if (terminal.pseudo) {
      pseudo.push_back(&terminal);
      continue;
    }
    TRY_ASSIGN(auto device, os::open_file(terminal.path, O_RDWR | O_NOCTTY | O_NONBLOCK));
    made_[terminal.device] = {&terminal, os::UniqueFd(), std::move(device)};
  }
  std::sort(pseudo.begin(), pseudo.end(), [](const auto* a, const auto* b) { return a->device < b->device; });
  TRY(make_pseudo(pseudo));
  for (const auto& [device, one] : made_)
    TRY_IN(one.terminal->path, set_up(*one.terminal, {one.master.get(), one.slave.get()}));
  return {};
}

Result<os::UniqueFd> Terminals::open(const OpenFile& file) {
  if (file.terminal->device == 0) return open_hung_up(file);
  const auto found = made_.find(file.terminal->device);
  if (found == made_.end()) return Err("its terminal is not part of the snapshot");
  auto& one = found->second;
  if (!file.terminal->master) {
    // /dev/tty would be our own one; /dev/console leads to the console of today.
    const bool by_name = !one.terminal->pseudo && file.name != "/dev/tty";
    return os::open_file(by_name ? file.name : one.terminal->path, static_cast<int>(file.flags) | O_NOCTTY);
  }
  const int packets = one.terminal->packets ? 1 : 0;
  if (packets != 0 && ::ioctl(one.master.get(), TIOCPKT, &packets) < 0) return ErrnoErr("TIOCPKT");
  return std::move(one.master);  // there is only one such description
}

Result<void> Terminals::finish() {
  for (auto& [device, one] : made_) {
    if (one.terminal->exclusive && ::ioctl(one.slave.get(), TIOCEXCL) < 0) return ErrnoErr("TIOCEXCL");
    one.slave.reset();
  }
  return {};
}

}  // namespace upkeep::engine
