#include "engine/inspect/namespaces/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "engine/inspect/namespaces/mounts.h"
#include "engine/inspect/namespaces/network.h"
#include "engine/inspect/namespaces/queue_directory.h"
#include "os/file.h"
#include "os/namespace.h"
#include "os/procfs.h"
#include "os/time_namespace.h"

namespace upkeep::engine {
namespace {

constexpr const char* kLeaveItOut = "leave it out of what is carried, or start it without that namespace";

// "4:memory:/below" and so on.
std::vector<CgroupRoot> parse_cgroups(std::string_view text) {
  std::vector<CgroupRoot> cgroups;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) continue;
    cgroups.push_back(
        {std::string(line.substr(first + 1, second - first - 1)), std::string(line.substr(second + 1))});
  }
  return cgroups;
}

// Processes may be in such a group only where it is the machine's root: cgroups(7), "no internal processes".
bool hands_down_controllers(const std::string& cgroup) {
  for (const char* hierarchy : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    const auto control = os::read_file(hierarchy + cgroup + "/cgroup.subtree_control").value_or("");
    if (cgroup != "/" && control.find_first_not_of(" \n") != std::string::npos) return true;
  }
  return false;
}

// Reads one process, and says what stands in the way of making its namespaces again.
class OneReader {
 public:
  OneReader(pid_t pid, std::vector<Obstacle>& obstacles) : pid_(pid), obstacles_(obstacles) {}

  // Not those that are told by others already.
  Result<Namespaces> read(const NamespaceNumbers& numbers, const NamespaceNumbers& untold,
                          const os::ClockOffsets& clocks) {
    Namespaces result;
    result.numbers = numbers;
    if (numbers.user != 0) {
      TRY_ASSIGN(result.user, read_user());
    }
    if (numbers.uts != 0) {
      TRY_ASSIGN(result.uts, read_uts());
    }
    if (untold.ipc != 0) TRY(look_at_ipc());
    if (untold.mnt != 0) {
      TRY_ASSIGN(const bool ours, belongs_to_us("mnt"));
      if (ours) {
        TRY_ASSIGN(result.mounts, read_mounts(pid_, obstacles_));
      }
    }
    if (untold.net != 0) {
      TRY_ASSIGN(const bool ours, belongs_to_us("net"));
      if (ours) {
        TRY_ASSIGN(result.network, read_network(pid_, obstacles_));
      }
    }
    if (numbers.cgroup != 0) {
      TRY_ASSIGN(result.cgroup_roots, read_cgroup_roots());
    }
    TRY(read_time(numbers, clocks, result));
    return result;
  }

 private:
  void refuse(const std::string& kind, std::string why) {
    obstacles_.push_back({pid_, kind + " namespace of its own", std::move(why), kLeaveItOut});
  }

  // Made by a task in our user namespace. Where it was made in another one, the kernel has locked things that
  // we would not lock.
  Result<bool> belongs_to_us(const std::string& kind) {
    TRY_ASSIGN(const auto ns, os::open_namespace(pid_, kind));
    TRY_ASSIGN(const auto own, os::namespace_id(0, "user"));
    const auto owner = kind == "user" ? os::parent_of_user_namespace(ns) : os::owner_of_namespace(ns);
    if (owner && *owner == own) return true;
    refuse(kind, "it was made inside of another user namespace than ours");
    return false;
  }

  Result<std::vector<IdRange>> read_ids(const char* name) const {
    TRY_ASSIGN(const auto text, os::read_file(fmt::format("/proc/{}/{}", pid_, name)));
    std::vector<IdRange> ranges;
    std::array<std::uint32_t, 3> numbers = {};
    std::size_t count = 0;
    for (const char *at = text.data(), *end = at + text.size(); at < end;) {
      const auto [next, error] = std::from_chars(at, end, numbers.at(count % 3));
      if (error == std::errc() && ++count % 3 == 0) ranges.push_back({numbers[0], numbers[1], numbers[2]});
      at = error == std::errc() ? next : at + 1;
    }
    return ranges;
  }

  Result<std::optional<UserNamespace>> read_user() {
    UserNamespace user;
    TRY_ASSIGN(const bool ours, belongs_to_us("user"));
    if (!ours) return std::optional<UserNamespace>();
    TRY_ASSIGN(user.uids, read_ids("uid_map"));
    TRY_ASSIGN(user.gids, read_ids("gid_map"));
    TRY_ASSIGN(const auto setgroups, os::read_file(fmt::format("/proc/{}/setgroups", pid_)));
    user.setgroups = setgroups.starts_with("allow");
    return std::optional(std::move(user));
  }

  Result<std::optional<UtsNames>> read_uts() {
    TRY_ASSIGN(const bool ours, belongs_to_us("uts"));
    if (!ours) return std::optional<UtsNames>();
    TRY_ASSIGN(const auto ns, os::open_namespace(pid_, "uts"));
    return os::in_namespace(ns, "uts", []() -> Result<std::optional<UtsNames>> {
      utsname names = {};
      if (::uname(&names) < 0) return ErrnoErr("uname");
      return std::optional(UtsNames{names.nodename, names.domainname});
    });
  }

  static Result<bool> has_message_queues() {
    TRY_ASSIGN(const auto directory, open_queue_directory());
    if (!directory.valid()) return false;
    TRY_ASSIGN(const auto names, os::list_directory(os::own_descriptor(directory)));
    return !names.empty();
  }

  // Only an empty one is made again.
  Result<void> look_at_ipc() {
    TRY_ASSIGN(const bool ours, belongs_to_us("ipc"));
    if (!ours) return {};
    TRY_ASSIGN(const auto ns, os::open_namespace(pid_, "ipc"));
    return os::in_namespace(ns, "ipc", [&]() -> Result<void> {
      for (const char* kind : {"shm", "msg", "sem"}) {
        const auto text = os::read_file(std::string("/proc/sysvipc/") + kind).value_or("");
        if (std::count(text.begin(), text.end(), '\n') > 1)  // the first line is a heading
          refuse("ipc", fmt::format("there are System V objects in it (/proc/sysvipc/{})", kind));
      }
      TRY_ASSIGN(const bool queues, has_message_queues());
      if (queues) refuse("ipc", "there are message queues in it");
      return {};
    });
  }

  // The cgroup that the process is in, as it is called inside and outside, tells what is above both.
  Result<std::vector<CgroupRoot>> read_cgroup_roots() {
    std::vector<CgroupRoot> roots;
    TRY_ASSIGN(const bool ours, belongs_to_us("cgroup"));
    if (!ours) return roots;
    const auto read = [&] { return os::read_file(fmt::format("/proc/{}/cgroup", pid_)); };
    TRY_ASSIGN(const auto ns, os::open_namespace(pid_, "cgroup"));
    TRY_ASSIGN(const auto outside, read());
    TRY_ASSIGN(const auto inside, os::in_namespace(ns, "cgroup", read));
    const auto called_outside = parse_cgroups(outside), called_inside = parse_cgroups(inside);
    if (called_outside.size() != called_inside.size()) return Err("its cgroups change");
    for (std::size_t i = 0; i < called_outside.size(); ++i) {
      auto root = called_outside[i];
      const std::string_view below =
          called_inside[i].path == "/" ? "" : std::string_view(called_inside[i].path);
      if (!root.path.ends_with(below) || below.starts_with("/..")) {
        refuse("cgroup", fmt::format("it has moved out of what is the root of it ({})", below));
        return roots;
      }
      root.path.resize(root.path.size() - below.size());
      if (root.path.empty()) root.path = "/";
      if (root.controllers.empty() && hands_down_controllers(root.path))
        refuse("cgroup", fmt::format("nobody can enter its root, {}, while that hands controllers down "
                                     "(cgroup.subtree_control)",
                                     root.path));
      roots.push_back(std::move(root));
    }
    return roots;
  }

  Result<void> read_time(const NamespaceNumbers& numbers, const os::ClockOffsets& clocks,
                         Namespaces& result) {
    const auto from_here = [&](const os::ClockOffsets& its) {
      return ClockDifference{its.monotonic - clocks.monotonic, its.boottime - clocks.boottime};
    };
    if (numbers.time != 0) {
      TRY_ASSIGN(const bool ours, belongs_to_us("time"));
      if (!ours) return {};
      TRY_ASSIGN(const auto its, os::own_clock_offsets(pid_));
      result.time = from_here(its);
    }
    if (numbers.time_for_children != 0) {
      TRY_ASSIGN(const bool ours, belongs_to_us("time_for_children"));
      if (!ours) return {};
      TRY_ASSIGN(const auto its, os::clock_offsets(pid_));
      result.time_for_children = from_here(its);
    }
    return {};
  }

  pid_t pid_;
  std::vector<Obstacle>& obstacles_;
};

// A thread may leave these behind by itself; the others only a process can.
constexpr std::array kOfThreads = {"uts", "ipc", "net", "cgroup", "time_for_children", "pid_for_children"};

std::string link_of(os::Fd directory, const char* kind) {
  return os::read_link_at(directory, fmt::format("ns/{}", kind)).value_or("");
}

// Where all of them are links.
Result<os::UniqueFd> links_of(pid_t pid) {
  return os::open_file(fmt::format("/proc/{}/ns", pid), O_PATH | O_DIRECTORY);
}

}  // namespace

ThreadNamespaces::ThreadNamespaces(pid_t pid) : pid_(pid) {
  if (pid == 0) return;
  const auto directory = os::open_file(fmt::format("/proc/{}", pid), O_PATH | O_DIRECTORY);
  if (!directory) return;
  for (const char* kind : kOfThreads) links_.push_back(link_of(*directory, kind));
}

void ThreadNamespaces::look_at(pid_t tid, os::Fd directory, std::vector<Obstacle>& obstacles) const {
  if (tid == pid_) return;
  for (std::size_t i = 0; i < links_.size(); ++i) {
    const auto its = link_of(directory, kOfThreads[i]);
    if (!its.empty() && !links_[i].empty() && its != links_[i])
      obstacles.push_back({pid_, fmt::format("thread {}", tid),
                           fmt::format("it has a {} namespace of its own", kOfThreads[i]), ""});
  }
}

Result<void> NamespaceReader::choose_clocks(const std::vector<pid_t>& pids) {
  struct Times {
    pid_t pid;
    std::uint64_t own, childrens;
  };
  std::vector<Times> all;
  // Those that are waited for by children only have to be made by whoever waits.
  std::set<std::uint64_t> for_children;
  for (const pid_t pid : pids) {
    const auto links = links_of(pid);
    if (!links) continue;
    const auto time = os::namespace_id_at(*links, "time"),
               childrens = os::namespace_id_at(*links, "time_for_children");
    if (!time) continue;
    all.push_back({pid, *time, childrens.value_or(*time)});
    if (all.back().childrens != *time) for_children.insert(*childrens);
  }
  const auto first =
      std::ranges::find_if(all, [&](const Times& one) { return !for_children.contains(one.own); });
  if (first == all.end()) return {};
  clocks_in_ = first->own;
  TRY_ASSIGN(clocks_, first->own == first->childrens ? os::clock_offsets(first->pid)
                                                     : os::own_clock_offsets(first->pid));
  return {};
}

std::uint64_t NamespaceReader::own(const char* kind) {
  const auto [place, first] = own_.try_emplace(kind, 0);
  if (first) place->second = os::namespace_id(0, kind).value_or(0);
  return place->second;
}

NamespaceNumbers NamespaceReader::numbers_of(os::Fd links) {
  const auto number = [&](const char* kind) { return os::namespace_id_at(links, kind).value_or(0); };
  const auto other = [&](const char* kind) -> std::uint64_t {
    const auto its = number(kind);
    return its != own(kind) ? its : 0;
  };
  NamespaceNumbers numbers{
      other("user"), other("uts"), other("ipc"), other("mnt"), other("net"), other("cgroup"), 0, 0};
  const auto time = number("time"), childrens = number("time_for_children");
  if (time != clocks_in_) numbers.time = time;
  if (childrens != time) numbers.time_for_children = childrens;
  return numbers;
}

bool shows_other_processes(const Process& process, const Snapshot& snapshot) {
  if (!process.namespaces) return false;
  const auto number = snapshot.namespaces[*process.namespaces].numbers.mnt;
  return number != 0 && std::ranges::any_of(snapshot.namespaces, [&](const Namespaces& one) {
           return one.numbers.mnt == number &&
                  std::ranges::any_of(one.mounts, [](const Mount& m) { return m.pid_namespace != 0; });
         });
}

void NamespaceReader::read_pid_namespaces(Process& process) {
  if (const auto links = links_of(process.pid)) read_pid_namespaces(process, *links);
}

void NamespaceReader::read_pid_namespaces(Process& process, os::Fd links) {
  const auto its = os::namespace_id_at(links, "pid"),
             childrens = os::namespace_id_at(links, "pid_for_children");
  if (!its) return;
  if (*its != own("pid")) process.pid_namespace = *its;
  // It has no number as long as nobody has been born into it.
  if (childrens && *childrens != *its) process.pid_namespace_for_children = *childrens;
  if (!childrens && childrens.error().code() == ENOENT && !process.exit_status)
    process.pid_namespace_for_children = kUnbornPidNamespace;
  if (process.pid_namespace == 0 || !reported_.insert(process.pid_namespace).second) return;
  const auto ns = os::open_namespace(process.pid, "pid");
  const auto owner = ns ? os::owner_of_namespace(*ns) : Result<std::uint64_t>(0);
  if (!owner || *owner != own("user"))
    snapshot_.obstacles.push_back({process.pid, "pid namespace of its own",
                                   "it was made inside of another user namespace than ours", kLeaveItOut});
}

Result<void> NamespaceReader::read(Process& process) {
  TRY_ASSIGN(const auto links, links_of(process.pid));
  read_pid_namespaces(process, links);
  const auto numbers = numbers_of(links);
  if (numbers == NamespaceNumbers{}) return {};
  if (numbers.time_for_children != 0 && !waited_for_.insert(numbers.time_for_children).second)
    snapshot_.obstacles.push_back({process.pid, "time namespace of its children",
                                   "other processes' children will be born into it too", kLeaveItOut});
  const auto [known, first] = known_.emplace(numbers, snapshot_.namespaces.size());
  if (first) {
    auto untold = numbers;
    for (auto* number : {&untold.ipc, &untold.mnt, &untold.net}) {
      if (*number != 0 && !reported_.insert(*number).second) *number = 0;
    }
    TRY_ASSIGN(auto read, OneReader(process.pid, snapshot_.obstacles).read(numbers, untold, clocks_));
    snapshot_.namespaces.push_back(std::move(read));
  }
  process.namespaces = known->second;
  if (numbers.mnt != 0 && process.folders.root != "/")
    snapshot_.obstacles.push_back({process.pid, "root folder " + process.folders.root,
                                   "chroot in a mount namespace of its own is not rebuilt by this version",
                                   kLeaveItOut});
  return {};
}

}  // namespace upkeep::engine
