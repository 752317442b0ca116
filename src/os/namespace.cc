#include "os/namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

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

Result<InNamespace> InNamespace::enter(Fd ns, const std::string& kind) {
  TRY_ASSIGN(auto home, open_namespace(0, kind));
  UniqueFd root, directory;
  if (kind == "mnt") {
    TRY_ASSIGN(root, open_file("/", O_PATH | O_DIRECTORY));
    TRY_ASSIGN(directory, open_file(".", O_PATH | O_DIRECTORY));
    // Threads share their working directory, and such a thread may not change its mount namespace.
    if (::unshare(CLONE_FS) < 0) return ErrnoErr("unshare CLONE_FS");
  }
  const int type = kind == "mnt" ? CLONE_NEWNS : kind == "uts" ? CLONE_NEWUTS : CLONE_NEWIPC;
  if (::setns(ns.get(), type) < 0) return ErrnoErr("setns {}", kind);
  return InNamespace(std::move(home), std::move(root), std::move(directory));
}

InNamespace::~InNamespace() {
  if (!home_.valid()) return;
  if (::setns(home_.get(), 0) < 0) std::abort();
  if (!root_.valid()) return;
  if (::fchdir(root_.get()) < 0 || ::chroot(".") < 0 || ::fchdir(directory_.get()) < 0) std::abort();
}

}  // namespace upkeep::os
