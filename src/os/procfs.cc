#include "os/procfs.h"

#include <fcntl.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "os/file.h"

namespace upkeep::os {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    auto end = text.find(separator);
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

template <typename T>
bool parse_number(std::string_view text, T& value, int base = 10) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

bool octal_digit(char c) { return c >= '0' && c <= '7'; }

// mountinfo writes space, tab, newline and backslash as \040 and so on.
std::string unescape(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal_digit(text[i + 1]) && octal_digit(text[i + 2]) &&
        octal_digit(text[i + 3])) {
      result.push_back(
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      result.push_back(text[i]);
    }
  }
  return result;
}

Result<std::vector<pid_t>> numbers_in(const std::string& directory) {
  TRY_ASSIGN(auto names, list_directory(directory));
  std::vector<pid_t> pids;
  for (const auto& name : names) {
    pid_t pid = 0;
    if (parse_number<pid_t>(name, pid)) pids.push_back(pid);
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

}  // namespace

Result<ProcStat> parse_stat(std::string_view text) {
  // The name may hold spaces and parentheses: it ends at the last ')'.
  auto open = text.find('('), close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return Err("not a stat line");
  ProcStat stat;
  stat.comm = std::string(text.substr(open + 1, close - open - 1));
  auto fields = split(text.substr(close + 1), ' ');
  if (fields.size() < 20 || open < 2 || !parse_number(text.substr(0, open - 1), stat.pid))
    return Err("stat line too short");
  stat.state = fields[0][0];
  bool good = parse_number(fields[1], stat.ppid) && parse_number(fields[2], stat.pgrp) &&
              parse_number(fields[3], stat.session) && parse_number(fields[4], stat.tty_nr) &&
              parse_number(fields[6], stat.flags) && parse_number(fields[19], stat.start_time);
  if (!good) return Err("a stat field is not a number");
  return stat;
}

Result<ProcStat> read_stat(pid_t pid) {
  TRY_ASSIGN(auto text, read_record(fmt::format("/proc/{}/stat", pid)));
  return parse_stat(text);
}

Result<std::vector<MountInfo>> parse_mountinfo(std::string_view text) {
  std::vector<MountInfo> mounts;
  for (auto line : split(text, '\n')) {
    auto fields = split(line, ' ');
    auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 9 || fields.end() - dash < 4) return Err("mountinfo line too short: '{}'", line);
    MountInfo mount;
    auto colon = fields[2].find(':');
    if (!parse_number(fields[0], mount.id) || !parse_number(fields[1], mount.parent) ||
        colon == std::string_view::npos || !parse_number(fields[2].substr(0, colon), mount.major) ||
        !parse_number(fields[2].substr(colon + 1), mount.minor)) {
      return Err("mountinfo line with a bad number: '{}'", line);
    }
    mount.root = unescape(fields[3]);
    mount.mount_point = unescape(fields[4]);
    mount.options = std::string(fields[5]);
    for (auto optional = fields.begin() + 6; optional < dash; ++optional) {
      if (optional->starts_with("shared:")) (void)parse_number(optional->substr(7), mount.shared);
      if (optional->starts_with("master:")) (void)parse_number(optional->substr(7), mount.master);
      if (*optional == "unbindable") mount.unbindable = true;
    }
    mount.fs_type = std::string(dash[1]);
    mount.source = unescape(dash[2]);
    mount.super_options = std::string(dash[3]);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<std::vector<MountInfo>> read_mountinfo(pid_t pid) {
  TRY_ASSIGN(auto text,
             read_file(pid == 0 ? "/proc/self/mountinfo" : fmt::format("/proc/{}/mountinfo", pid)));
  return parse_mountinfo(text);
}

namespace {

// What lies over BELOW (nullptr: over nothing of the list) at POINT.
const MountInfo* mounted_over(const std::vector<MountInfo>& mounts, const std::set<int>& ids,
                              const MountInfo* below, std::string_view point) {
  for (const auto& mount : mounts) {
    const bool over = below != nullptr ? mount.parent == below->id && &mount != below
                                       : mount.parent == mount.id || !ids.contains(mount.parent);
    if (over && mount.mount_point == point) return &mount;
  }
  return nullptr;
}

}  // namespace

const MountInfo* mount_of(const std::vector<MountInfo>& mounts, std::string_view path) {
  std::set<int> ids;
  for (const auto& mount : mounts) ids.insert(mount.id);
  const MountInfo* found = nullptr;
  for (std::size_t length = 1; length <= path.size();) {
    const auto point = path.substr(0, length);
    while (const auto* over = mounted_over(mounts, ids, found, point)) found = over;
    if (length == path.size()) break;
    const auto end = path.find('/', length + (length > 1 ? 1 : 0));
    length = std::min(end, path.size());
  }
  return found;
}

std::map<std::string, std::string, std::less<>> parse_key_values(std::string_view text) {
  std::map<std::string, std::string, std::less<>> values;
  for (auto line : split(text, '\n')) {
    auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    auto value = line.substr(colon + 1);
    auto first = value.find_first_not_of(" \t");
    values.emplace(line.substr(0, colon), first == std::string_view::npos ? "" : value.substr(first));
  }
  return values;
}

Result<std::vector<pid_t>> list_processes() { return numbers_in("/proc"); }
Result<std::vector<pid_t>> list_threads(pid_t pid) { return numbers_in(fmt::format("/proc/{}/task", pid)); }

// Anybody may have such a name; the flag says who it is.
bool is_io_worker(pid_t pid, pid_t tid) {
  if (tid == pid) return false;
  const auto name = read_record(fmt::format("/proc/{}/task/{}/comm", pid, tid));
  if (!name || !name->starts_with("iou-")) return false;
  const auto stat = read_stat(tid);
  return stat && stat->io_worker();
}

Result<std::vector<pid_t>> list_own_threads(pid_t pid) {
  TRY_ASSIGN(auto threads, list_threads(pid));
  std::erase_if(threads, [pid](pid_t tid) { return is_io_worker(pid, tid); });
  return threads;
}

std::vector<LinkedDescriptor> list_descriptors(pid_t pid) {
  std::vector<LinkedDescriptor> found;
  const auto directory = fmt::format("/proc/{}/fd", pid);
  for (const auto& name : list_directory(directory).value_or(std::vector<std::string>())) {
    LinkedDescriptor descriptor;
    auto link = read_link(fmt::format("{}/{}", directory, name));
    if (!link || !parse_number(name, descriptor.number)) continue;
    descriptor.link = std::move(*link);
    found.push_back(std::move(descriptor));
  }
  return found;
}

namespace {

// By the lists of children that each thread has (CONFIG_PROC_CHILDREN), which a machine with many processes
// answers sooner than the question for the parents of all of them. Nothing where the tree is large, or where
// the kernel has no such lists.
std::optional<std::vector<pid_t>> tree_of_few(pid_t root) {
  constexpr std::size_t kFew = 32;
  std::vector<pid_t> tree = {root};
  std::size_t looked_at = 0;
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const auto threads = list_threads(tree[i]);
    if (!threads) continue;  // it has ended
    looked_at += threads->size();
    if (looked_at > kFew) return std::nullopt;
    const auto before = static_cast<std::ptrdiff_t>(tree.size());
    for (const pid_t thread : *threads) {
      const auto list = read_file(fmt::format("/proc/{}/task/{}/children", tree[i], thread));
      if (!list && read_stat(tree[i])) return std::nullopt;
      if (!list) break;  // it has ended
      for (const auto word : split(*list, ' ')) {
        pid_t child = 0;
        if (parse_number(word, child) && child > 0 && std::ranges::find(tree, child) == tree.end())
          tree.push_back(child);
      }
    }
    std::sort(tree.begin() + before, tree.end());
  }
  return tree;
}

}  // namespace

Result<std::vector<pid_t>> process_tree(pid_t root) {
  TRY_ASSIGN(auto root_stat, read_stat(root));
  if (root_stat.kernel_thread()) return Err("{} ({}) is a kernel thread", root, root_stat.comm);
  if (auto few = tree_of_few(root)) return std::move(*few);
  TRY_ASSIGN(auto all, list_processes());
  std::multimap<pid_t, pid_t> children;
  for (pid_t pid : all) {
    auto stat = read_stat(pid);
    if (stat) children.emplace(stat->ppid, pid);  // one that ended meanwhile is not part of the tree
  }
  std::vector<pid_t> tree = {root};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    auto [first, last] = children.equal_range(tree[i]);
    for (auto it = first; it != last; ++it) tree.push_back(it->second);
  }
  return tree;
}

Result<std::uint64_t> namespace_id(pid_t pid, const std::string& kind) {
  return namespace_id_at(Fd(AT_FDCWD),
                         pid == 0 ? "/proc/self/ns/" + kind : fmt::format("/proc/{}/ns/{}", pid, kind));
}

Result<std::uint64_t> namespace_id_at(Fd directory, const std::string& path) {
  TRY_ASSIGN(auto link, read_link_at(directory, path));
  auto open = link.find('['), close = link.find(']');
  std::uint64_t id = 0;
  if (open == std::string::npos || close == std::string::npos ||
      !parse_number(std::string_view(link).substr(open + 1, close - open - 1), id)) {
    return Err("unexpected namespace link '{}'", link);
  }
  return id;
}

Result<std::string> parse_cgroup(std::string_view text) {
  for (auto line : split(text, '\n')) {
    if (line.starts_with("0::")) return std::string(line.substr(3));
  }
  return Err("no version 2 cgroup");
}

Result<std::string> cgroup_of(pid_t pid) {
  TRY_ASSIGN(auto text, read_record(fmt::format("/proc/{}/cgroup", pid)));
  return parse_cgroup(text);
}

std::string command_line(pid_t pid) {
  auto text = read_file(fmt::format("/proc/{}/cmdline", pid));
  if (text && !text->empty()) {
    while (!text->empty() && text->back() == '\0') text->pop_back();
    std::replace(text->begin(), text->end(), '\0', ' ');
    return *text;
  }
  auto stat = read_stat(pid);
  return stat ? stat->comm : "?";
}

std::string kernel_release() {
  utsname name = {};
  ::uname(&name);
  return name.release;
}

std::string boot_id() {
  auto id = read_record("/proc/sys/kernel/random/boot_id").value_or("");
  while (id.ends_with('\n')) id.pop_back();
  return id;
}

}  // namespace upkeep::os
