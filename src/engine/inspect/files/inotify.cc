#include "engine/inspect/files/inotify.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>

#include "engine/inspect/calls/proc_text.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

constexpr std::int32_t kHighestWatch = 1'000'000;  // numbers are given one after the other

// Device numbers inside the kernel: linux/kdev_t.h.
unsigned kernel_major(std::uint32_t device) { return device >> 20U; }
unsigned kernel_minor(std::uint32_t device) { return device & 0xfffffU; }

bool leads_to(const std::string& path, std::uint64_t inode, InotifyWatch& watch) {
  struct stat status = {};
  if (::lstat(path.c_str(), &status) < 0 || status.st_ino != inode) return false;
  watch.path = path;
  watch.device = status.st_dev;
  watch.inode = status.st_ino;
  return true;
}

Result<os::UniqueFd> open_by_handle(os::Fd mount, const InotifyMark& mark) {
  std::array<std::byte, sizeof(file_handle) + MAX_HANDLE_SZ> room = {};
  if (mark.handle.data.empty() || mark.handle.data.size() > MAX_HANDLE_SZ) return Err("it has no handle");
  auto* handle = reinterpret_cast<file_handle*>(room.data());
  handle->handle_bytes = static_cast<unsigned>(mark.handle.data.size());
  handle->handle_type = mark.handle_type;
  std::memcpy(room.data() + sizeof(file_handle), mark.handle.data.data(), mark.handle.data.size());
  os::UniqueFd fd(::open_by_handle_at(mount.get(), handle, O_PATH | O_CLOEXEC));
  if (!fd.valid()) return ErrnoErr("open_by_handle_at");
  return fd;
}

// The path is right where it leads back to the inode: a file may have been renamed since the kernel looked at
// its name last, or lie outside of what is mounted there.
bool find_path(const std::vector<os::MountInfo>& mounts, const InotifyMark& mark, InotifyWatch& watch) {
  for (const auto& mount : mounts) {
    if (mount.major != kernel_major(mark.device) || mount.minor != kernel_minor(mark.device)) continue;
    if (leads_to(mount.mount_point, mark.inode, watch)) return true;
    auto directory = os::open_file(mount.mount_point, O_RDONLY | O_DIRECTORY);
    if (!directory) continue;
    auto object = open_by_handle(*directory, mark);
    if (!object) continue;
    auto path = os::read_link(os::own_descriptor(*object));
    if (path && leads_to(*path, mark.inode, watch)) return true;
  }
  return false;
}

}  // namespace

Result<std::vector<std::string>> read_inotify(const DescriptorFacts& facts, Inotify& inotify) {
  std::vector<std::string> reasons;
  TRY_ASSIGN(const auto marks, parse_inotify(facts.info));
  if (marks.empty()) return reasons;
  TRY_ASSIGN(const auto mounts, os::read_mountinfo(facts.pid));
  for (const auto& mark : marks) {
    InotifyWatch watch;
    watch.wd = mark.wd;
    watch.mask = mark.mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
    if (mark.wd < 1 || mark.wd > kHighestWatch)
      reasons.push_back(fmt::format("the number {} of a watch is too high", mark.wd));
    else if (!find_path(mounts, mark, watch))
      reasons.push_back(fmt::format("watch {} is of inode {} on device {}:{}, to which no path is found",
                                    mark.wd, mark.inode, kernel_major(mark.device),
                                    kernel_minor(mark.device)));
    inotify.watches.push_back(std::move(watch));
  }
  std::sort(inotify.watches.begin(), inotify.watches.end(),
            [](const auto& a, const auto& b) { return a.wd < b.wd; });
  return reasons;
}

}  // namespace upkeep::engine
