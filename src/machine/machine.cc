#include "machine/machine.h"

#include <blkid/blkid.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::machine {
namespace {

using PointAndType = std::pair<std::string_view, std::string_view>;
constexpr std::array<PointAndType, 7> kEarlyMounts = {{{"/dev/pts", "devpts"},
                                                       {"/dev/shm", "tmpfs"},
                                                       {"/dev/hugepages", "hugetlbfs"},
                                                       {"/run", "tmpfs"},
                                                       {"/run/lock", "tmpfs"},
                                                       {"/tmp", "tmpfs"},
                                                       {"/sys/fs/cgroup", "cgroup2"}}};
// File systems that every kernel makes from nothing: files of theirs are found again by name.
constexpr std::array<std::string_view, 11> kKernelMade = {"proc",       "sysfs",  "devtmpfs", "devpts",
                                                          "cgroup2",    "mqueue", "debugfs",  "tracefs",
                                                          "securityfs", "bpf",    "pstore"};

template <typename List>
bool contains(const List& list, const typename List::value_type& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

struct UsedPath {
  pid_t pid;
  std::string path;
  std::string how;  // "descriptor 7", "mapping", "working folder"
};

void add_links(pid_t pid, const std::string& folder, const std::string& how, std::vector<UsedPath>& used) {
  auto names = os::list_directory(folder);
  if (!names) return;
  for (const auto& name : *names) {
    auto target = os::read_link(folder + "/" + name);
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
  const auto folder = std::filesystem::weakly_canonical(path.parent_path(), error);
  return error ? name : (folder / path.filename()).string();
}

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

}  // namespace

nlohmann::json to_json(const RootFileSystem& root) {
  return {{"device", root.device}, {"major", root.major},     {"minor", root.minor},
          {"uuid", root.uuid},     {"fs_type", root.fs_type}, {"options", root.options}};
}

Result<RootFileSystem> root_from_json(const nlohmann::json& json) {
  try {
    return RootFileSystem{json.at("device").get<std::string>(),  json.at("major").get<unsigned>(),
                          json.at("minor").get<unsigned>(),      json.at("uuid").get<std::string>(),
                          json.at("fs_type").get<std::string>(), json.at("options").get<std::string>()};
  } catch (const nlohmann::json::exception& error) {
    return Err("root file system: {}", error.what());
  }
}

Result<std::string> probe_uuid(const std::string& device) {
  std::unique_ptr<blkid_struct_probe, void (*)(blkid_probe)> probe(
      blkid_new_probe_from_filename(device.c_str()), blkid_free_probe);
  if (!probe) return ErrnoErr("open {}", device);
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_UUID | BLKID_SUBLKS_TYPE);
  const char* uuid = nullptr;
  if (blkid_do_safeprobe(probe.get()) != 0 ||
      blkid_probe_lookup_value(probe.get(), "UUID", &uuid, nullptr) != 0) {
    return Err("{} holds no file system with a UUID", device);
  }
  return std::string(uuid);
}

nlohmann::json to_json(const EarlyMount& mount) {
  return {{"fs_type", mount.fs_type},
          {"source", mount.source},
          {"mount_point", mount.mount_point},
          {"options", mount.options}};
}

Result<EarlyMount> early_mount_from_json(const nlohmann::json& json) {
  try {
    return EarlyMount{json.at("fs_type").get<std::string>(), json.at("source").get<std::string>(),
                      json.at("mount_point").get<std::string>(), json.at("options").get<std::string>()};
  } catch (const nlohmann::json::exception& error) {
    return Err("mount: {}", error.what());
  }
}

std::vector<EarlyMount> early_mounts(const std::vector<os::MountInfo>& mounts) {
  std::vector<EarlyMount> early;
  for (const auto& mount : mounts) {
    if (!contains(kEarlyMounts, PointAndType(mount.mount_point, mount.fs_type))) continue;
    early.push_back(
        {mount.fs_type, mount.source, mount.mount_point, mount.options + "," + mount.super_options});
  }
  return early;
}

std::vector<Finding> check_files(const std::vector<pid_t>& pids, const std::vector<os::MountInfo>& mounts) {
  std::vector<Finding> findings;
  std::set<std::string> named;
  const auto early = early_mounts(mounts);
  for (const auto& used : used_paths(pids)) {
    const auto* mount = os::mount_of(mounts, used.path);
    if (mount == nullptr || mount->mount_point == "/" || contains(kKernelMade, mount->fs_type)) continue;
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

std::vector<std::string> temporary_folders(const std::vector<pid_t>& pids,
                                           const std::vector<os::MountInfo>& mounts) {
  std::set<std::string> folders;
  for (const auto& used : used_paths(pids)) {
    const auto* mount = os::mount_of(mounts, used.path);
    const bool memory = mount != nullptr && (mount->fs_type == "tmpfs" || mount->fs_type == "hugetlbfs");
    if (!memory) continue;
    if (mount->mount_point != "/run") {
      folders.insert(mount->mount_point);
      continue;
    }
    auto below = used.path.substr(5);  // after "/run/"
    auto slash = below.find('/');
    const std::string first = below.substr(0, slash);
    // What systemd, udev and dbus keep there is theirs to make anew, for the new kernel.
    constexpr std::array<std::string_view, 8> kOthers = {"systemd", "udev",        "dbus",   "user",
                                                         "log",     "credentials", "upkeep", "lock"};
    if (contains(kOthers, first) || used.path == "/run") continue;
    folders.insert("/run/" + first);
  }
  return {folders.begin(), folders.end()};
}

}  // namespace upkeep::machine
