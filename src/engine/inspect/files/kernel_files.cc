#include "engine/inspect/files/kernel_files.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "engine/inspect/calls/proc_text.h"
#include "os/file.h"

namespace upkeep::engine {
namespace {

// State of these is behind the descriptor, not the path.
constexpr std::array<std::string_view, 4> kStateful = {"/sys/kernel/debug/", "/sys/kernel/tracing/",
                                                       "/sys/fs/bpf/", "/sys/fs/selinux/"};

// RFC 4648; anything else ends it.
std::string from_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0, count = 0;
  for (char c : text) {
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos) break;
    bits = bits << 6U | static_cast<unsigned>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>(bits >> count & 0xffU));
  }
  return bytes;
}

std::string variable(std::string_view environment, std::string_view name) {
  while (!environment.empty()) {
    const auto end = environment.find('\0');
    const auto one = environment.substr(0, end);
    if (one.starts_with(name) && one.substr(name.size()).starts_with('='))
      return std::string(one.substr(name.size() + 1));
    environment.remove_prefix(end == std::string_view::npos ? environment.size() : end + 1);
  }
  return "";
}

// The kernel does not tell a trigger, but a service is told which one to write, and where: systemd.exec(5),
// $MEMORY_PRESSURE_WATCH. What was written moves the position of a cgroup's file, so one at 0 has none.
std::vector<std::string> read_trigger(const DescriptorFacts& facts, PathFile& path) {
  const auto position = number_of(facts.info, "pos").value_or(0);
  const bool of_cgroup = !path.path.starts_with("/proc/");
  if (of_cgroup && position == 0) return {};
  const auto environment = os::read_file(fmt::format("/proc/{}/environ", facts.holder)).value_or("");
  if (variable(environment, "MEMORY_PRESSURE_WATCH") == path.path)
    path.trigger = from_base64(variable(environment, "MEMORY_PRESSURE_WRITE"));
  if (path.trigger.empty() || (of_cgroup && position != path.trigger.size())) {
    path.trigger.clear();
    return {"what was written into it, to be told about pressure, cannot be read"};
  }
  return {};
}

}  // namespace

bool is_kernel_file(std::string_view path) { return path.starts_with("/proc/") || path.starts_with("/sys/"); }

std::vector<std::string> read_kernel_file(const DescriptorFacts& facts, std::uint32_t flags, PathFile& path) {
  for (const auto prefix : kStateful) {
    if (path.path.starts_with(prefix)) return {"state behind this file is not rebuilt by this version"};
  }
  if (path.path.starts_with("/proc/") && path.path.find("/fdinfo/") != std::string::npos)
    return {"it is about a descriptor, and files are opened before there are any"};
  const bool writes = (flags & O_ACCMODE) != O_RDONLY && (flags & O_PATH) == 0;
  if (writes && path.path.ends_with("/cgroup.event_control"))
    return {"what was registered through it cannot be read"};
  const bool pressure = path.path.ends_with(".pressure") || path.path.starts_with("/proc/pressure/");
  return writes && pressure ? read_trigger(facts, path) : std::vector<std::string>();
}

void look_at_foreign_files(Snapshot& snapshot) {
  std::set<std::int32_t> ids;
  for (const auto& process : snapshot.processes) {
    ids.insert(process.pid);
    for (const auto& thread : process.threads) ids.insert(thread.tid);
  }
  for (const auto& process : snapshot.processes) {
    for (const auto& descriptor : process.descriptors) {
      const auto& file = snapshot.files[descriptor.file];
      constexpr std::string_view kProc = "/proc/";
      if (file.kind != FileKind::path || !file.name.starts_with(kProc)) continue;
      std::int32_t pid = 0;
      const auto digits = std::string_view(file.name).substr(kProc.size());
      (void)std::from_chars(digits.data(), digits.data() + digits.size(), pid);
      if (pid == 0 || ids.contains(pid)) continue;
      snapshot.obstacles.push_back({process.pid, descriptor_title(descriptor.fd, file.name),
                                    "it is about a process that is not part of the tree",
                                    "carry that process too"});
    }
  }
}

}  // namespace upkeep::engine
