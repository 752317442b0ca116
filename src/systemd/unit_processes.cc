#include "systemd/unit_processes.h"

#include <dirent.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <memory>

#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::systemd {
namespace {

void for_each_folder(const std::string& folder, const std::function<void(const std::string& name)>& look) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(folder.c_str()), ::closedir);
  if (!directory) return;  // groups go away while they are looked at
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') look(entry->d_name);
  }
}

void find_groups(const std::string& folder, const std::string& name, std::vector<std::string>& found) {
  for_each_folder(folder, [&](const std::string& entry) {
    const auto path = folder + '/' + entry;
    if (entry == name)
      found.push_back(path);
    else
      find_groups(path, name, found);
  });
}

void read_processes(const std::string& group, std::vector<pid_t>& pids) {
  const auto text = os::read_file(group + "/cgroup.procs").value_or("");
  const char* end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    pid_t pid = 0;
    const auto [next, error] = std::from_chars(at, end, pid);
    if (error == std::errc() && pid != 0) pids.push_back(pid);  // 0: of another PID namespace
    at = error == std::errc() ? next : at + 1;
  }
  for_each_folder(group, [&](const std::string& entry) { read_processes(group + '/' + entry, pids); });
}

bool has_suffix(const std::string& name) {
  constexpr const char* kSuffixes[] = {".service", ".scope", ".slice", ".socket", ".mount", ".swap"};
  return std::any_of(std::begin(kSuffixes), std::end(kSuffixes),
                     [&](const char* suffix) { return name.ends_with(suffix); });
}

}  // namespace

std::string unified_hierarchy() {
  for (const char* path : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    if (os::exists(std::string(path) + "/cgroup.procs")) return path;
  }
  return "";
}

Result<std::vector<pid_t>> roots_of_unit(const std::string& name, const std::string& hierarchy) {
  const auto unit = has_suffix(name) ? name : name + ".service";
  if (unit.find('/') != std::string::npos) return Err("'{}' is no name of a unit", name);
  if (hierarchy.empty()) return Err("unit {}: no version 2 cgroup hierarchy is mounted", unit);
  std::vector<std::string> groups;
  find_groups(hierarchy, unit, groups);
  if (groups.empty()) return Err("unit {} does not run: there is no cgroup of that name", unit);
  if (groups.size() > 1)
    return Err("unit {} runs more than once ({} and {}): name its processes with --carry", unit, groups[0],
               groups[1]);
  std::vector<pid_t> pids, roots;
  read_processes(groups[0], pids);
  if (pids.empty())
    return Err("unit {} has no processes (units of instances have names like {}@NAME)", unit, name);
  std::sort(pids.begin(), pids.end());
  for (pid_t pid : pids) {
    auto stat = os::read_stat(pid);
    if (!stat) continue;  // ended meanwhile
    if (!std::binary_search(pids.begin(), pids.end(), stat->ppid)) roots.push_back(pid);
  }
  if (roots.empty()) return Err("unit {}: its processes have ended", unit);
  return roots;
}

}  // namespace upkeep::systemd
