#include "os/namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/nsfs.h>

#include "os/file.h"

namespace upkeep::os {
namespace {

Result<std::uint64_t> number_behind(Fd ns, unsigned long request, const char* name) {
  const UniqueFd other(::ioctl(ns.get(), request));
  if (!other.valid()) return ErrnoErr("{}", name);
  return namespace_number(other);
}

}  // namespace

int clone_flag(std::string_view kind) {
  constexpr std::pair<std::string_view, int> kCloneFlags[] = {
      {"mnt", CLONE_NEWNS},    {"uts", CLONE_NEWUTS},       {"ipc", CLONE_NEWIPC}, {"net", CLONE_NEWNET},
      {"user", CLONE_NEWUSER}, {"cgroup", CLONE_NEWCGROUP}, {"pid", CLONE_NEWPID}, {"time", CLONE_NEWTIME}};
  for (const auto& [name, flag] : kCloneFlags) {
    if (name == kind) return flag;
  }
  return 0;
}

Result<UniqueFd> open_namespace(pid_t pid, const std::string& kind) {
  return open_file(pid == 0 ? "/proc/thread-self/ns/" + kind : fmt::format("/proc/{}/ns/{}", pid, kind),
                   O_RDONLY);
}

Result<std::uint64_t> namespace_number(Fd ns) {
  struct stat status = {};
  if (::fstat(ns.get(), &status) < 0) return ErrnoErr("fstat of a namespace");
  return status.st_ino;
}

Result<std::uint64_t> owner_of_namespace(Fd ns) { return number_behind(ns, NS_GET_USERNS, "NS_GET_USERNS"); }
Result<std::uint64_t> parent_of_user_namespace(Fd ns) {
  return number_behind(ns, NS_GET_PARENT, "NS_GET_PARENT");
}

Result<void> enter_namespace(Fd ns, const std::string& kind) {
  if (kind == "mnt" && ::unshare(CLONE_FS) < 0) return ErrnoErr("unshare CLONE_FS");
  if (::setns(ns.get(), clone_flag(kind)) < 0) return ErrnoErr("setns {}", kind);
  return {};
}

}  // namespace upkeep::os
