#include "engine/model/files/terminal.h"

#include <algorithm>
#include <set>

namespace upkeep::engine {

Result<void> validate(const std::vector<Terminal>& terminals, const KnownObjects&) {
  std::set<std::uint64_t> devices;
  for (const auto& terminal : terminals) {
    if (!devices.insert(terminal.device).second) return Err("{} is there twice", terminal.path);
  }
  return {};
}

Result<void> validate(const Terminal& terminal, const KnownObjects& known) {
  constexpr std::size_t kCharacters = 19, kLine = 65536;
  constexpr std::uint32_t kLargest = 65535;  // struct winsize
  if (terminal.device == 0 || !terminal.path.starts_with("/dev/")) return Err("it is no device");
  if (terminal.attributes.characters.data.size() != kCharacters || terminal.attributes.discipline > 255)
    return Err("its attributes are not those of a terminal");
  if (std::max({terminal.rows, terminal.columns, terminal.width, terminal.height}) > kLargest)
    return Err("its size is impossible");
  for (const auto id : {terminal.session, terminal.foreground}) {
    if (id != 0 && !is_task_id(id)) return Err("impossible IDs");
  }
  if (!known.processes.contains(terminal.foreground) && known.tasks.contains(terminal.foreground))
    return Err("a thread leads its foreground process group");
  for (const auto& line : terminal.input) {
    if (line.data.data.size() > kLine) return Err("a line of {} bytes", line.data.data.size());
  }
  return {};
}

Result<void> validate(const TerminalEnd& end, const KnownObjects& known) {
  if (end.device == 0) return {};
  const auto terminal = known.terminals.find(end.device);
  if (terminal == known.terminals.end()) return Err("its terminal is not there");
  if (end.master && !terminal->second) return Err("its terminal cannot have a master");
  return {};
}

}  // namespace upkeep::engine
