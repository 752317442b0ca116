#include "engine/inspect/files/terminal_users.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <map>
#include <set>

#include "engine/inspect/calls/proc_text.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

constexpr const char* kRemedy = "carry that process too, or start it with setsid and without the terminal";

bool is_master(std::string_view link) { return link == "/dev/ptmx" || link == "/dev/pts/ptmx"; }

// Found once for all: which process outside has which pseudo-terminal, by its slave's path.
struct OutsideUsers {
  std::map<std::string, pid_t> masters, slaves, controlled;
};

OutsideUsers find_users(const OutsideProcesses& outside) {
  OutsideUsers found;
  struct stat mount = {};
  if (::stat("/dev/pts", &mount) < 0) return found;
  for (const pid_t pid : outside) {
    // The same numbers mean other terminals where another devpts is mounted.
    struct stat its = {};
    if (::stat(fmt::format("/proc/{}/root/dev/pts", pid).c_str(), &its) < 0 || its.st_dev != mount.st_dev)
      continue;
    const auto stat = os::read_stat(pid);
    if (stat && stat->tty_nr != 0) {
      const auto number = static_cast<unsigned>(stat->tty_nr);
      const unsigned index = (number & 0xffU) | ((number >> 12U) & 0xfff00U);
      constexpr unsigned kSlaves = 136;
      if (((number >> 8U) & 0xfffU) == kSlaves)
        found.controlled.emplace(fmt::format("/dev/pts/{}", index), pid);
    }
    for (const auto& descriptor : os::list_descriptors(pid)) {
      if (descriptor.link.starts_with("/dev/pts/")) found.slaves.emplace(descriptor.link, pid);
      if (!is_master(descriptor.link)) continue;
      const auto info = os::read_file(fmt::format("/proc/{}/fdinfo/{}", pid, descriptor.number));
      const auto index = info ? number_of(*info, "tty-index") : std::nullopt;
      if (index) found.masters.emplace(fmt::format("/dev/pts/{}", *index), pid);
    }
  }
  return found;
}

std::string described(pid_t pid) {
  return fmt::format("process {} ({}), which is not part of the tree,", pid, os::command_line(pid));
}

void name_users(const Terminal& terminal, pid_t holder, const OutsideUsers& outside, Snapshot& snapshot) {
  const std::pair<const std::map<std::string, pid_t>*, const char*> kinds[] = {
      {&outside.masters, "holds it too"},
      {&outside.slaves, "has it open"},
      {&outside.controlled, "has it as its controlling terminal"}};
  for (const auto& [users, how] : kinds) {
    const auto user = users->find(terminal.path);
    if (user == users->end()) continue;
    snapshot.obstacles.push_back(
        {holder, "terminal " + terminal.path, fmt::format("{} {}", described(user->second), how), kRemedy});
    return;
  }
}

// A slave whose master is not part of the tree.
void name_missing_masters(const OutsideUsers& outside, Snapshot& snapshot) {
  std::set<std::uint64_t> there, said;
  for (const auto& terminal : snapshot.terminals) there.insert(terminal.device);
  auto say = [&](pid_t pid, std::string what, std::uint64_t device) {
    constexpr unsigned kSlaves = 136;
    if (device == 0 || major(device) != kSlaves || there.contains(device)) return;
    const auto path = fmt::format("/dev/pts/{}", minor(device));
    const auto holder = outside.masters.find(path);
    const auto why = holder == outside.masters.end()
                         ? "its other side is not part of the tree"
                         : fmt::format("{} holds its other side", described(holder->second));
    snapshot.obstacles.push_back({pid, std::move(what), why, kRemedy});
  };
  for (const auto& process : snapshot.processes) {
    if (process.terminal != 0 && !said.contains(process.terminal))
      say(process.pid, fmt::format("the controlling terminal /dev/pts/{}", minor(process.terminal)),
          process.terminal);
    said.insert(process.terminal);
    for (const auto& descriptor : process.descriptors) {
      const auto& file = snapshot.files[descriptor.file];
      if (file.terminal && !said.contains(file.terminal->device))
        say(process.pid, descriptor_title(descriptor.fd, file.name), file.terminal->device);
    }
  }
}

}  // namespace

void find_outside_users_of_terminals(const OutsideProcesses& outside, Snapshot& snapshot) {
  bool any = !snapshot.terminals.empty();
  for (const auto& process : snapshot.processes) any = any || process.terminal != 0;
  for (const auto& file : snapshot.files) any = any || (file.terminal && file.terminal->device != 0);
  if (!any) return;
  const auto users = find_users(outside);
  for (const auto& terminal : snapshot.terminals) {
    if (!terminal.pseudo) continue;
    pid_t holder = 0;
    for (const auto& process : snapshot.processes) {
      for (const auto& descriptor : process.descriptors) {
        const auto& file = snapshot.files[descriptor.file];
        if (holder == 0 && file.terminal && file.terminal->device == terminal.device) holder = process.pid;
      }
    }
    name_users(terminal, holder, users, snapshot);
  }
  name_missing_masters(users, snapshot);
}

}  // namespace upkeep::engine
