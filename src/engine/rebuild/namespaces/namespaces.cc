#include "engine/rebuild/namespaces/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <signal.h>

#include <set>
#include <tuple>

#include "engine/rebuild/calls/scratch.h"
#include "engine/rebuild/namespaces/mounts.h"
#include "engine/rebuild/namespaces/network.h"
#include "os/child.h"
#include "os/file.h"
#include "os/namespace.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

Result<void> set_names(const UtsNames& names) {
  if (::sethostname(names.host_name.data(), names.host_name.size()) < 0) return ErrnoErr("sethostname");
  if (::setdomainname(names.domain_name.data(), names.domain_name.size()) < 0)
    return ErrnoErr("setdomainname");
  return {};
}

// Where the host shows the cgroups that have these controllers.
Result<std::string> hierarchy_of(std::string_view controllers) {
  TRY_ASSIGN(const auto mounts, os::read_mountinfo(0));
  for (const auto& mount : mounts) {
    const auto options = fmt::format(",{},", mount.super_options);
    const bool same = controllers.empty()
                          ? mount.fs_type == "cgroup2"
                          : mount.fs_type == "cgroup" &&
                                options.find(fmt::format(",{},", controllers)) != std::string::npos;
    if (same && mount.root == "/") return mount.mount_point;
  }
  return Err("no hierarchy of cgroups with the controllers '{}' is mounted", controllers);
}

// What a task is in when it makes a cgroup namespace is the root of that.
Result<void> enter_cgroups(const std::vector<CgroupRoot>& roots) {
  TRY_ASSIGN(const auto own, os::read_file("/proc/self/cgroup"));
  for (const auto& root : roots) {
    if (own.find(fmt::format(":{}:{}\n", root.controllers, root.path)) != std::string::npos) continue;
    TRY_ASSIGN(const auto hierarchy, hierarchy_of(root.controllers));
    const auto directory = hierarchy + root.path;
    TRY(os::make_directories(directory));
    TRY(os::write_value(directory + "/cgroup.procs", "0"));
  }
  return {};
}

// Those of one set that have to be made.
struct Missing {
  bool user = false, uts = false, ipc = false, mnt = false, net = false, cgroup = false, time = false;
};

// In a task of its own. The user namespace is the last one: the others belong to ours, as they did.
Result<void> enter_new(const Namespaces& wanted, const Missing& missing, const os::ClockOffsets& clocks,
                       const std::string& scratch) {
  if (missing.cgroup) TRY(enter_cgroups(wanted.cgroup_roots));
  const int others = (missing.uts ? CLONE_NEWUTS : 0) | (missing.ipc ? CLONE_NEWIPC : 0) |
                     (missing.mnt ? CLONE_NEWNS : 0) | (missing.cgroup ? CLONE_NEWCGROUP : 0) |
                     (missing.net ? CLONE_NEWNET : 0) | (missing.time ? CLONE_NEWTIME : 0);
  if (::unshare(others) < 0) return ErrnoErr("unshare");
  if (missing.time) TRY(os::write_value("/proc/self/timens_offsets", offsets_text(clocks, *wanted.time)));
  if (missing.net) TRY(set_up_network(wanted.network));
  if (missing.uts) TRY(set_names(*wanted.uts));
  if (missing.mnt) TRY(make_mount_tree(wanted.mounts, scratch));
  if (missing.user && ::unshare(CLONE_NEWUSER) < 0) return ErrnoErr("unshare CLONE_NEWUSER");
  return {};
}

std::string map_text(const std::vector<IdRange>& ranges) {
  std::string text;
  for (const auto& range : ranges)
    text += fmt::format("{} {} {}\n", range.inside, range.outside, range.count);
  return text;
}

Result<void> write_maps(pid_t pid, const UserNamespace& user) {
  const auto directory = fmt::format("/proc/{}", pid);
  if (!user.setgroups) TRY(os::write_value(directory + "/setgroups", "deny"));
  if (!user.uids.empty()) TRY(os::write_value(directory + "/uid_map", map_text(user.uids)));
  if (!user.gids.empty()) TRY(os::write_value(directory + "/gid_map", map_text(user.gids)));
  return {};
}

struct PipeEnds {
  os::UniqueFd read, write;
  static Result<PipeEnds> make() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoErr("pipe");
    return PipeEnds{os::UniqueFd(ends[0]), os::UniqueFd(ends[1])};
  }
};

Result<void> take(pid_t pid, const Namespaces& wanted, const Missing& missing, MadeNamespaces& made) {
  if (missing.user) TRY(write_maps(pid, *wanted.user));
  const std::tuple<bool, const char*, os::UniqueFd*> kinds[] = {
      {missing.user, "user", &made.user},
      {missing.uts, "uts", &made.uts},
      {missing.ipc, "ipc", &made.ipc},
      {missing.mnt, "mnt", &made.mnt},
      {missing.net, "net", &made.net},
      {missing.cgroup, "cgroup", &made.cgroup},
      {missing.time, "time_for_children", &made.time}};
  for (const auto& [is_missing, kind, place] : kinds) {
    if (!is_missing) continue;
    TRY_ASSIGN(*place, os::open_namespace(pid, kind));
  }
  return {};
}

Result<void> make_missing(const Namespaces& wanted, const Missing& missing, const os::ClockOffsets& clocks,
                          MadeNamespaces& made) {
  TRY_ASSIGN(const auto scratch, Scratch::make());
  TRY_ASSIGN(auto report, PipeEnds::make());
  TRY_ASSIGN(const auto child, os::fork_child([&]() -> int {
               ::prctl(PR_SET_PDEATHSIG, SIGKILL);
               auto entered = enter_new(wanted, missing, clocks, scratch.path());
               if (!entered) (void)os::write_all(report.write, entered.error().message());
               report.write.reset();
               if (!entered) return 1;
               for (;;) ::pause();
             }));
  report.write.reset();
  auto error = os::read_all(report.read);  // until the child has closed its end
  auto taken = !error           ? Result<void>(tl::unexpected(std::move(error).error()))
               : error->empty() ? take(child.pid, wanted, missing, made)
                                : Err("{}", *error);
  ::kill(child.pid, SIGKILL);
  (void)os::wait_child(child, std::chrono::seconds(10));
  return taken;
}

Result<os::UniqueFd> second(os::Fd fd) {
  os::UniqueFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return ErrnoErr("dup");
  return copy;
}

class Maker {
 public:
  Maker(const Snapshot& snapshot, const os::ClockOffsets& clocks) : snapshot_(snapshot), clocks_(clocks) {
    for (const auto& wanted : snapshot.namespaces) {
      if (wanted.numbers.time_for_children != 0) made_by_processes_.insert(wanted.numbers.time_for_children);
    }
  }

  Result<AllNamespaces> make() {
    for (const auto& wanted : snapshot_.namespaces) TRY(make(wanted));
    return std::move(all_);
  }

 private:
  // Whether it has to be made; one that there is already is taken.
  Result<bool> is_missing(std::uint64_t NamespaceNumbers::*number, os::UniqueFd MadeNamespaces::*place,
                          const Namespaces& wanted, MadeNamespaces& made) {
    const auto its = wanted.numbers.*number;
    if (its == 0) return false;
    for (std::size_t i = 0; i < all_.size(); ++i) {
      if (snapshot_.namespaces[i].numbers.*number != its || !(all_[i].*place).valid()) continue;
      TRY_ASSIGN(made.*place, second(all_[i].*place));
      return false;
    }
    return true;
  }

  Result<void> make(const Namespaces& wanted) {
    MadeNamespaces made;
    Missing missing;
    using Numbers = NamespaceNumbers;
    using Made = MadeNamespaces;
    TRY_ASSIGN(missing.user, is_missing(&Numbers::user, &Made::user, wanted, made));
    TRY_ASSIGN(missing.uts, is_missing(&Numbers::uts, &Made::uts, wanted, made));
    TRY_ASSIGN(missing.ipc, is_missing(&Numbers::ipc, &Made::ipc, wanted, made));
    TRY_ASSIGN(missing.mnt, is_missing(&Numbers::mnt, &Made::mnt, wanted, made));
    TRY_ASSIGN(missing.net, is_missing(&Numbers::net, &Made::net, wanted, made));
    TRY_ASSIGN(missing.cgroup, is_missing(&Numbers::cgroup, &Made::cgroup, wanted, made));
    TRY_ASSIGN(missing.time, is_missing(&Numbers::time, &Made::time, wanted, made));
    if (made_by_processes_.contains(wanted.numbers.time)) missing.time = false;
    TRY(make_missing(wanted, missing, clocks_, made));
    all_.push_back(std::move(made));
    return {};
  }

  const Snapshot& snapshot_;
  const os::ClockOffsets& clocks_;
  std::set<std::uint64_t> made_by_processes_;
  AllNamespaces all_;
};

}  // namespace

os::Fd mounts_of(const Process& process, const AllNamespaces& namespaces) {
  return process.namespaces ? os::Fd(namespaces[*process.namespaces].mnt) : os::Fd(-1);
}

std::vector<os::Fd> mounts_of_files(const Snapshot& snapshot, const AllNamespaces& namespaces) {
  std::vector<os::Fd> result(snapshot.files.size(), os::Fd(-1));
  std::vector<bool> known(snapshot.files.size());
  for (const auto& process : snapshot.processes) {
    for (const auto& descriptor : process.descriptors) {
      if (!known[descriptor.file]) result[descriptor.file] = mounts_of(process, namespaces);
      known[descriptor.file] = true;
    }
  }
  return result;
}

Result<AllNamespaces> make_namespaces(const Snapshot& snapshot, const os::ClockOffsets& clocks) {
  auto made = Maker(snapshot, clocks).make();
  if (!made) return tl::unexpected(std::move(made).error().in("namespaces of their own"));
  return made;
}

std::string offsets_text(const os::ClockOffsets& clocks, const ClockDifference& difference) {
  return os::clock_offsets_text(
      {clocks.monotonic + difference.monotonic, clocks.boottime + difference.boottime});
}

Result<void> take_childrens_time(const Process& process, const Snapshot& snapshot,
                                 AllNamespaces& namespaces) {
  const auto number = snapshot.namespaces[*process.namespaces].numbers.time_for_children;
  for (std::size_t i = 0; i < namespaces.size(); ++i) {
    if (snapshot.namespaces[i].numbers.time != number) continue;
    TRY_ASSIGN(namespaces[i].time, os::open_namespace(process.pid, "time_for_children"));
  }
  return {};
}

}  // namespace upkeep::engine
