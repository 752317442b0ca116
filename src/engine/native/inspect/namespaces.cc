// Namespaces of their own: what a task sees differently from us.

#include <sched.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>

#include "engine/native/inspect/readers.h"
#include "os/file.h"
#include "os/namespace.h"
#include "os/procfs.h"

namespace upkeep::native {
namespace {

constexpr const char* kRemedy = "carry it with the criu engine";

// Reads one process, and says what stands in the way of making its namespaces again.
class OneReader {
 public:
  OneReader(pid_t pid, std::vector<Obstacle>& obstacles) : pid_(pid), obstacles_(obstacles) {}

  Result<Namespaces> read(const std::array<std::uint64_t, 4>& numbers) {
    Namespaces result;
    if (numbers[0] != 0) {
      TRY_ASSIGN(result.user, read_user());
    }
    if (numbers[1] != 0) {
      TRY_ASSIGN(result.uts, read_uts());
    }
    if (numbers[2] != 0) {
      TRY_ASSIGN(result.ipc, read_ipc());
    }
    if (numbers[3] == 0) return result;
    TRY_ASSIGN(const bool ours, belongs_to_us("mnt"));
    if (ours) {
      TRY_ASSIGN(result.mounts, read_mounts(pid_, obstacles_));
    }
    return result;
  }

 private:
  void refuse(const std::string& kind, std::string why) {
    obstacles_.push_back({pid_, kind + " namespace of its own", std::move(why), kRemedy});
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
    const os::UniqueFd context(::fsopen("mqueue", FSOPEN_CLOEXEC));
    if (!context.valid()) return false;  // the kernel has none
    if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
      return ErrnoErr("fsconfig mqueue");
    const os::UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
    if (!mount.valid()) return ErrnoErr("fsmount mqueue");
    TRY_ASSIGN(const auto names, os::list_directory(fmt::format("/proc/self/fd/{}", mount.get())));
    return !names.empty();
  }

  // Only an empty one is made again.
  Result<bool> read_ipc() {
    TRY_ASSIGN(const bool ours, belongs_to_us("ipc"));
    if (!ours) return true;
    TRY_ASSIGN(const auto ns, os::open_namespace(pid_, "ipc"));
    return os::in_namespace(ns, "ipc", [&]() -> Result<bool> {
      for (const char* kind : {"shm", "msg", "sem"}) {
        const auto text = os::read_file(std::string("/proc/sysvipc/") + kind).value_or("");
        if (std::count(text.begin(), text.end(), '\n') > 1)  // the first line is a heading
          refuse("ipc", fmt::format("there are System V objects in it (/proc/sysvipc/{})", kind));
      }
      TRY_ASSIGN(const bool queues, has_message_queues());
      if (queues) refuse("ipc", "there are message queues in it");
      return true;
    });
  }

  pid_t pid_;
  std::vector<Obstacle>& obstacles_;
};

// A thread may leave these behind by itself; the others only a process can.
void look_at_threads(const Process& process, std::vector<Obstacle>& obstacles) {
  auto threads = os::list_threads(process.pid);
  if (!threads || threads->size() < 2) return;
  for (const char* kind : {"uts", "ipc", "net", "cgroup"}) {
    const auto whole = os::namespace_id(process.pid, kind);
    for (pid_t tid : *threads) {
      const auto its = os::namespace_id(tid, kind);
      if (whole && its && *whole != *its)
        obstacles.push_back({process.pid, fmt::format("thread {}", tid),
                             fmt::format("it has a {} namespace of its own", kind), ""});
    }
  }
}

}  // namespace

Result<void> NamespaceReader::read(Process& process) {
  const auto other = [&](const char* kind) -> std::uint64_t {
    auto& own = own_[kind];
    if (own == 0) own = os::namespace_id(0, kind).value_or(0);
    const auto its = os::namespace_id(process.pid, kind);
    return its && *its != own ? *its : 0;
  };
  for (const char* kind : {"net", "pid", "cgroup"}) {
    if (other(kind) != 0)
      snapshot_.obstacles.push_back({process.pid, fmt::format("{} namespace of its own", kind),
                                     "this version does not rebuild it", kRemedy});
  }
  look_at_threads(process, snapshot_.obstacles);
  const std::array<std::uint64_t, 4> numbers = {other("user"), other("uts"), other("ipc"), other("mnt")};
  if (numbers == std::array<std::uint64_t, 4>{}) return {};
  const auto [known, first] = known_.emplace(numbers, snapshot_.namespaces.size());
  if (first) {
    TRY_ASSIGN(auto read, OneReader(process.pid, snapshot_.obstacles).read(numbers));
    snapshot_.namespaces.push_back(std::move(read));
  }
  process.namespaces = known->second;
  if (numbers[3] != 0 && process.folders.root != "/")
    snapshot_.obstacles.push_back({process.pid, "root folder " + process.folders.root,
                                   "chroot in a mount namespace of its own is not rebuilt by this version",
                                   kRemedy});
  return {};
}

}  // namespace upkeep::native
