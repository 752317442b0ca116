#include "engine/native/rebuild/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <signal.h>

#include "engine/native/rebuild/scratch.h"
#include "os/child.h"
#include "os/file.h"
#include "os/namespace.h"

namespace upkeep::native {
namespace {

Result<void> set_names(const UtsNames& names) {
  if (::sethostname(names.host_name.data(), names.host_name.size()) < 0) return ErrnoErr("sethostname");
  if (::setdomainname(names.domain_name.data(), names.domain_name.size()) < 0)
    return ErrnoErr("setdomainname");
  return {};
}

// In a task of its own. The user namespace is the last one: the others belong to ours, as they did.
Result<void> enter_new(const Namespaces& wanted, const std::string& scratch) {
  const int others = (wanted.uts ? CLONE_NEWUTS : 0) | (wanted.ipc ? CLONE_NEWIPC : 0) |
                     (wanted.mounts.empty() ? 0 : CLONE_NEWNS);
  if (::unshare(others) < 0) return ErrnoErr("unshare");
  if (wanted.uts) TRY(set_names(*wanted.uts));
  if (!wanted.mounts.empty()) TRY(make_mount_tree(wanted.mounts, scratch));
  if (wanted.user && ::unshare(CLONE_NEWUSER) < 0) return ErrnoErr("unshare CLONE_NEWUSER");
  return {};
}

std::string map_text(const std::vector<IdRange>& ranges) {
  std::string text;
  for (const auto& range : ranges)
    text += fmt::format("{} {} {}\n", range.inside, range.outside, range.count);
  return text;
}

Result<void> write_maps(pid_t pid, const UserNamespace& user) {
  const auto folder = fmt::format("/proc/{}", pid);
  if (!user.setgroups) TRY(os::write_value(folder + "/setgroups", "deny"));
  if (!user.uids.empty()) TRY(os::write_value(folder + "/uid_map", map_text(user.uids)));
  if (!user.gids.empty()) TRY(os::write_value(folder + "/gid_map", map_text(user.gids)));
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

Result<MadeNamespaces> take(pid_t pid, const Namespaces& wanted) {
  MadeNamespaces made;
  if (wanted.user) TRY(write_maps(pid, *wanted.user));
  if (wanted.user) {
    TRY_ASSIGN(made.user, os::open_namespace(pid, "user"));
  }
  if (wanted.uts) {
    TRY_ASSIGN(made.uts, os::open_namespace(pid, "uts"));
  }
  if (wanted.ipc) {
    TRY_ASSIGN(made.ipc, os::open_namespace(pid, "ipc"));
  }
  if (!wanted.mounts.empty()) {
    TRY_ASSIGN(made.mnt, os::open_namespace(pid, "mnt"));
  }
  return made;
}

Result<MadeNamespaces> make_one(const Namespaces& wanted) {
  TRY_ASSIGN(const auto scratch, Scratch::make());
  TRY_ASSIGN(auto told, PipeEnds::make());
  TRY_ASSIGN(const auto child, os::fork_child([&]() -> int {
               ::prctl(PR_SET_PDEATHSIG, SIGKILL);
               auto entered = enter_new(wanted, scratch.path());
               if (!entered) (void)os::write_all(told.write, entered.error().message());
               told.write.reset();
               if (!entered) return 1;
               for (;;) ::pause();
             }));
  told.write.reset();
  auto error = os::read_all(told.read);  // until the child has closed its end
  auto made = !error           ? Result<MadeNamespaces>(tl::unexpected(std::move(error).error()))
              : error->empty() ? take(child.pid, wanted)
                               : Err("{}", *error);
  ::kill(child.pid, SIGKILL);
  (void)os::wait_child(child, std::chrono::seconds(10));
  return made;
}

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

Result<AllNamespaces> make_namespaces(const Snapshot& snapshot) {
  AllNamespaces result;
  for (const auto& wanted : snapshot.namespaces) {
    auto made = make_one(wanted);
    if (!made) return tl::unexpected(std::move(made).error().in("namespaces of their own"));
    result.push_back(std::move(*made));
  }
  return result;
}

}  // namespace upkeep::native
