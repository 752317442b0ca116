#include "net/sysctl.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <set>
#include <tuple>

#include "os/file.h"

namespace upkeep::net {
namespace {

// The same values once more in coarser units: writing these would round the others.
const std::set<std::string, std::less<>> kDuplicates = {"retrans_time", "base_reachable_time"};

std::string_view last_part(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto slash = path.find('/');
    parts.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    path.remove_prefix(slash + 1);
  }
}

// One read: a sysctl gives its value whole, and there are hundreds of them.
Result<std::string> read_value(const std::string& path) {
  TRY_ASSIGN(auto fd, os::open_file(path, O_RDONLY));
  std::array<char, 8192> buffer;
  const ssize_t size = ::read(fd.get(), buffer.data(), buffer.size());
  if (size < 0) return ErrnoErr("read {}", path);
  std::string value(buffer.data(), static_cast<std::size_t>(size));
  while (!value.empty() && value.back() == '\n') value.pop_back();
  return value;
}

void read_below(const std::string& root, const std::string& directory, std::vector<Sysctl>& sysctls) {
  auto names = os::list_directory(root + "/" + directory);
  if (!names) return;  // a link that went away, or a kernel without IPv6
  for (const auto& name : *names) {
    const std::string path = fmt::format("{}/{}", directory, name);
    const std::string whole = fmt::format("{}/{}", root, path);
    struct stat status = {};
    if (::stat(whole.c_str(), &status) < 0) continue;
    if (S_ISDIR(status.st_mode)) {
      read_below(root, path, sysctls);
    } else if ((status.st_mode & S_IWUSR) != 0 && (status.st_mode & S_IRUSR) != 0 &&
               !kDuplicates.contains(name)) {
      // stable_secret cannot be read while it is not set; whatever cannot be read cannot be put back.
      if (auto value = read_value(whole)) sysctls.push_back({path, std::move(*value)});
    }
  }
}

// Small first: `all` before `default` before links, and in each group those that set others before the rest.
std::tuple<int, int, std::string_view> rank(std::string_view path) {
  const auto parts = parts_of(path);
  int where = 0;
  if (parts.size() >= 4 && (parts[1] == "conf" || parts[1] == "neigh")) {
    where = parts[2] == "all" ? 1 : parts[2] == "default" ? 2 : 3;
  }
  const auto name = last_part(path);
  const bool sets_others = name == "ip_forward" || name == "forwarding" || name == "disable_ipv6" ||
                           name == "default_qdisc" || name == "devconf_inherit_init_net";
  return {where, sets_others ? 0 : 1, path};
}

}  // namespace

void sort_for_writing(std::vector<Sysctl>& sysctls) {
  std::sort(sysctls.begin(), sysctls.end(),
            [](const auto& a, const auto& b) { return rank(a.path) < rank(b.path); });
}

Result<std::vector<Sysctl>> read_sysctls(const std::string& root) {
  std::vector<Sysctl> sysctls;
  for (const char* family : {"core", "ipv4", "ipv6", "unix"}) read_below(root, family, sysctls);
  if (sysctls.empty()) return Err("no sysctls below {}", root);
  sort_for_writing(sysctls);
  return sysctls;
}

std::string link_of_sysctl(std::string_view path) {
  const auto parts = parts_of(path);
  if (parts.size() < 4 || (parts[1] != "conf" && parts[1] != "neigh")) return "";
  return parts[2] == "all" || parts[2] == "default" ? "" : std::string(parts[2]);
}

std::string default_of_sysctl(std::string_view path) {
  const auto parts = parts_of(path);
  if (parts.size() != 4 || link_of_sysctl(path).empty()) return "";
  return fmt::format("{}/{}/default/{}", parts[0], parts[1], parts[3]);
}

SysctlResult write_sysctls(const std::vector<Sysctl>& sysctls,
                           const std::function<bool(const Sysctl&)>& wanted, const std::string& root) {
  SysctlResult result;
  for (const auto& sysctl : sysctls) {
    if (!wanted(sysctl)) continue;
    const std::string path = root + "/" + sysctl.path;
    const auto now = read_value(path);
    if (now && *now == sysctl.value) continue;
    if (!now && now.error().code() == ENOENT) {
      result.unknown.push_back(sysctl.path);
      continue;
    }
    auto written = os::write_value(path, sysctl.value + "\n");
    if (written) {
      result.written.push_back(sysctl.path);
    } else {
      result.refused.push_back(fmt::format("{}: {}", sysctl.path, errno_text(written.error().code())));
    }
  }
  return result;
}

}  // namespace upkeep::net
