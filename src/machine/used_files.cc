#include "machine/used_files.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include "machine/mounts.h"
#include "os/file.h"

namespace upkeep::machine {
namespace {

// File systems that every kernel makes from nothing: files of theirs are found again by name.
constexpr std::array<std::string_view, 11> kKernelMade = {"proc",       "sysfs",  "devtmpfs", "devpts",
                                                          "cgroup2",    "mqueue", "debugfs",  "tracefs",
                                                          "securityfs", "bpf",    "pstore"};

bool is_kernel_made(const std::string& fs_type) {
  return std::find(kKernelMade.begin(), kKernelMade.end(), fs_type) != kKernelMade.end();
}

void add_links(pid_t pid, const std::string& directory, const std::string& how, std::vector<UsedPath>& used) {
  auto names = os::list_directory(directory);
  if (!names) return;
  for (const auto& name : *names) {
    auto target = os::read_link(directory + "/" + name);
    if (target && target->starts_with('/')) used.push_back({pid, *target, how + " " + name});
  }
}

// Names that the process's unix sockets are bound to, from /proc/net/unix ("Num: ... Inode Path").
std::vector<std::string> socket_names(pid_t pid) {
  std::set<std::string> inodes;
  for (const auto& [number, link] : os::list_descriptors(pid)) {
    if (link.starts_with("socket:[")) inodes.insert(link.substr(8, link.size() - 9));
  }
  std::vector<std::string> bound;
  auto table = os::read_file(fmt::format("/proc/{}/net/unix", pid));
  if (!table) return bound;
  std::size_t at = 0;
  while (at < table->size()) {
    auto end = std::min(table->find('\n', at), table->size());
    const std::string line = table->substr(at, end - at);
    at = end + 1;
    auto slash = line.find(" /");
    if (slash == std::string::npos) continue;
    auto inode_at = line.find_last_of(' ', slash - 1);
    if (inode_at != std::string::npos && inodes.contains(line.substr(inode_at + 1, slash - inode_at - 1))) {
      bound.push_back(line.substr(slash + 1));
    }
  }
  return bound;
}

// A socket's name is what its program wrote, symbolic links and all ("/var/run/postgresql/..."): which file
// system it lies on shows only behind them. Other paths here come from links that the kernel resolved.
std::string resolved(const std::string& name) {
  const std::filesystem::path path(name);
  std::error_code error;
  const auto directory = std::filesystem::weakly_canonical(path.parent_path(), error);
  return error ? name : (directory / path.filename()).string();
}

}  // namespace

std::vector<UsedPath> used_paths(const std::vector<pid_t>& pids) {
  std::vector<UsedPath> used;
  for (pid_t pid : pids) {
    const std::string proc = fmt::format("/proc/{}", pid);
    add_links(pid, proc + "/fd", "descriptor", used);
    add_links(pid, proc + "/map_files", "mapping", used);
    for (const char* link : {"cwd", "root", "exe"}) {
      auto target = os::read_link(proc + "/" + link);
      if (target && target->starts_with('/')) used.push_back({pid, *target, link});
    }
    for (const auto& name : socket_names(pid)) used.push_back({pid, resolved(name), "socket"});
  }
  for (auto& entry : used) {
    constexpr std::string_view kDeleted = " (deleted)";
    if (entry.path.ends_with(kDeleted)) entry.path.resize(entry.path.size() - kDeleted.size());
  }
  // Anonymous memory shows up as /dev/zero, /memfd:, /SYSV...; those are no files.
  std::erase_if(used, [](const UsedPath& entry) {
    return entry.path.starts_with("/memfd:") || entry.path.starts_with("/SYSV") ||
           entry.path.starts_with("/anon_hugepage") || entry.path.starts_with("/[");
  });
  return used;
}

std::vector<Finding> check_files(const std::vector<pid_t>& pids, const std::vector<os::MountInfo>& mounts) {
  std::vector<Finding> findings;
  std::set<std::string> named;
  const auto early = early_mounts(mounts);
  for (const auto& used : used_paths(pids)) {
    const auto* mount = os::mount_of(mounts, used.path);
    if (mount == nullptr || mount->mount_point == "/" || is_kernel_made(mount->fs_type)) continue;
    const bool comes_back = std::any_of(early.begin(), early.end(),
                                        [&](const auto& e) { return e.mount_point == mount->mount_point; });
    if (comes_back || !named.insert(mount->mount_point).second) continue;
    findings.push_back(
        {Finding::Severity::refusal,
         fmt::format("{} ({}), {}: {}", os::command_line(used.pid), used.pid, used.how, used.path),
         fmt::format("it lies on {} ({}), and this version brings back only the root file system",
                     mount->mount_point, mount->fs_type),
         "move the data to the root file system, or leave the task out of --carry"});
  }
  return findings;
}

}  // namespace upkeep::machine
