#include "engine/inspect/namespaces/mounts.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

constexpr std::size_t kMostNodes = 4096, kMostBytes = 1U << 20U;
constexpr std::int64_t kSecond = 1'000'000'000;

// File systems that are made anew, with what is in them or because nothing is.
bool can_be_made(const std::string& type) {
  return type == "tmpfs" || type == "ramfs" || type == "proc" || type == "mqueue";
}

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

Node describe(std::string path, const struct stat& status) {
  Node node;
  node.path = std::move(path);
  node.mode = status.st_mode;
  node.uid = status.st_uid;
  node.gid = status.st_gid;
  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) node.device_number = status.st_rdev;
  node.modified = status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec;
  return node;
}

// Everything in one file system, parents first.
class Walk {
 public:
  explicit Walk(dev_t device) : device_(device) {}

  Result<std::vector<Node>> read(const std::string& root) {
    TRY_ASSIGN(const auto directory, os::open_file(root, O_RDONLY | O_DIRECTORY));
    struct stat status = {};
    if (::fstat(directory.get(), &status) < 0) return ErrnoErr("fstat");
    if (status.st_dev != device_) return Err("another file system is mounted over it");
    nodes_.push_back(describe("", status));
    TRY(look_into(directory, ""));
    return std::move(nodes_);
  }

 private:
  Result<void> look_into(os::Fd directory, const std::string& path) {
    TRY_ASSIGN(const auto names, os::list_directory(os::own_descriptor(directory)));
    for (const auto& name : names) {
      struct stat status = {};
      if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
        return ErrnoErr("{}/{}", path, name);
      auto& node = nodes_.emplace_back(describe(path + '/' + name, status));
      if (nodes_.size() > kMostNodes) return Err("there are more than {} files in it", kMostNodes);
      if (status.st_dev != device_) {  // a mount point: what is below it does not show
        node =
            Node{node.path, S_ISDIR(status.st_mode) ? S_IFDIR | 0755U : S_IFREG | 0600U, 0, 0, 0, 0, "", {}};
        continue;
      }
      TRY(look_at(directory, name, status));
    }
    return {};
  }

  Result<void> look_at(os::Fd directory, const std::string& name, const struct stat& status) {
    const auto own_path = fmt::format("/proc/self/fd/{}/{}", directory.get(), name);
    auto& node = nodes_.back();
    if (S_ISLNK(status.st_mode)) {
      TRY_ASSIGN(node.target, os::read_link(own_path));
    } else if (S_ISREG(status.st_mode)) {
      if (status.st_nlink > 1) return Err("{} has several names", node.path);
      bytes_ += static_cast<std::size_t>(status.st_size);
      if (bytes_ > kMostBytes) return Err("there are more than {} bytes in it", kMostBytes);
      TRY_ASSIGN(const auto data, os::read_file_at(directory, name));
      node.data.data.assign(data.begin(), data.end());
    } else if (S_ISDIR(status.st_mode)) {
      TRY_ASSIGN(const auto next, os::open_at(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      TRY(look_into(next, std::string(node.path)));
    } else if (S_ISSOCK(status.st_mode)) {
      nodes_.pop_back();  // made by whoever is bound to it
    }
    return {};
  }

  dev_t device_;
  std::vector<Node> nodes_;
  std::size_t bytes_ = 0;
};

class MountReader {
 public:
  MountReader(pid_t pid, std::vector<os::MountInfo> own, std::vector<Obstacle>& obstacles)
      : pid_(pid), own_(std::move(own)), obstacles_(obstacles) {}

  Mount read(const os::MountInfo& info) {
    Mount mount{info.id,         info.parent,
                info.major,      info.minor,
                info.root,       info.mount_point,
                info.options,    info.fs_type,
                info.source,     info.super_options,
                info.shared,     info.master,
                info.unbindable, {},
                false,           {}};
    if (info.root.ends_with("//deleted")) refuse(info, "the directory that it shows has been removed");
    if (info.options.find("idmapped") != std::string::npos) refuse(info, "its IDs are mapped");
    const auto* host = find_in_own(mount);
    look_at_propagation(info, host);
    if (host == nullptr && !can_be_made(info.fs_type))
      refuse(info, fmt::format("this {} is nowhere to be found among our own mounts", info.fs_type));
    if (host == nullptr && (info.fs_type == "tmpfs" || info.fs_type == "ramfs")) read_contents(mount);
    if (host != nullptr) read_copy(mount);
    return mount;
  }

 private:
  void refuse(const os::MountInfo& info, std::string why) {
    obstacles_.push_back({pid_, "mount " + info.mount_point, std::move(why),
                          "run it without mounts of its own, or leave it out"});
  }

  std::string in_process(const std::string& path) const { return fmt::format("/proc/{}/root{}", pid_, path); }

  // The same place of the same file system, seen from the two namespaces.
  bool same(const std::string& host_path, const std::string& mount_point) const {
    struct stat ours = {}, theirs = {};
    constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    return ::fstatat(AT_FDCWD, host_path.c_str(), &ours, kFlags) == 0 &&
           ::fstatat(AT_FDCWD, in_process(mount_point).c_str(), &theirs, kFlags) == 0 &&
           ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
  }

  const os::MountInfo* find_in_own(Mount& mount) const {
    const os::MountInfo* found = nullptr;
    for (const auto& host : own_) {
      if (host.major != mount.major || host.minor != mount.minor) continue;
      const auto base = host.root == "/" ? std::string() : host.root;
      if (mount.root != host.root && !mount.root.starts_with(base + "/")) continue;
      const auto rest = mount.root == "/" ? std::string() : mount.root.substr(base.size());
      auto path = (host.mount_point == "/" ? std::string() : host.mount_point) + rest;
      if (path.empty()) path = "/";
      // The same place is preferred.
      const bool inherited = path == mount.mount_point && mount.root == host.root;
      if (!inherited && found != nullptr) continue;
      if (!same(path, mount.mount_point)) continue;
      found = &host;
      mount.host_path = std::move(path);
      mount.inherited = inherited;
      if (inherited) break;
    }
    return found;
  }

  void look_at_propagation(const os::MountInfo& info, const os::MountInfo* host) {
    const bool shared_with_us =
        info.shared != 0 &&
        std::any_of(own_.begin(), own_.end(), [&](const auto& own) { return own.shared == info.shared; });
    if (shared_with_us) refuse(info, "what is mounted below it appears in our own namespace too (shared)");
    if (info.shared != 0 && !groups_.insert(info.shared).second)
      refuse(info, "it shares what is mounted below it with another mount of its namespace");
    if (info.master != 0 && (host == nullptr || host->shared != info.master))
      refuse(info, "it receives mounts from another one than the one that it shows");
  }

  void read_contents(Mount& mount) {
    const auto device = makedev(mount.major, mount.minor);
    if (mount.root != "/" || !filled_.insert(device).second) return;
    auto nodes = Walk(device).read(in_process(mount.mount_point));
    if (nodes) {
      mount.contents = std::move(*nodes);
      return;
    }
    obstacles_.push_back({pid_, fmt::format("mount {}", mount.mount_point), nodes.error().message(), ""});
  }

  // What lies in the host's memory may have to be made anew in another kernel; where it is too much it has to
  // be there.
  void read_copy(Mount& mount) const {
    struct stat status = {};
    const auto path = in_process(mount.mount_point);
    const bool may_go = !mount.inherited && mount.fs_type == "tmpfs" && mount.root != "/";
    if (!may_go || ::lstat(path.c_str(), &status) < 0) return;
    if (S_ISDIR(status.st_mode))
      mount.contents = Walk(status.st_dev).read(path).value_or(std::vector<Node>());
    else
      mount.contents.push_back(describe("", status));
  }

  pid_t pid_;
  std::vector<os::MountInfo> own_;
  std::vector<Obstacle>& obstacles_;
  std::set<int> groups_;
  std::set<dev_t> filled_;
};

// Whose processes proc file systems show, which the first one of those tells.
class ProcReader {
 public:
  ProcReader(pid_t pid, std::vector<Mount>& mounts, std::vector<Obstacle>& obstacles)
      : pid_(pid), mounts_(mounts), obstacles_(obstacles) {}

  void look() {
    for (auto& mount : mounts_) {
      if (is_proc(mount) && mount.root == "/") shown_[device_of(mount)] = shown_by(mount);
    }
    const bool inner = os::namespace_id(pid_, "pid").value_or(0) != own_;
    for (auto& mount : mounts_) {
      if (!is_proc(mount)) continue;
      const auto shown = shown_.find(device_of(mount));
      if (shown == shown_.end() && inner) refuse(mount, "what it is a part of is not mounted as a whole");
      if (shown != shown_.end() && shown->second == 0) refuse(mount, "it shows an ended PID namespace");
      if (shown != shown_.end() && shown->second != own_) mount.pid_namespace = shown->second;
    }
    look_below();
  }

 private:
  static bool is_proc(const Mount& mount) { return mount.fs_type == "proc" && mount.host_path.empty(); }
  static dev_t device_of(const Mount& mount) { return makedev(mount.major, mount.minor); }

  std::uint64_t shown_by(const Mount& mount) const {
    return os::namespace_id_at(os::Fd(AT_FDCWD),
                               fmt::format("/proc/{}/root{}/1/ns/pid", pid_, mount.mount_point))
        .value_or(0);
  }

  // Those of other namespaces are mounted last, with what shows parts of them.
  void look_below() {
    for (const auto& mount : mounts_) {
      const auto below = std::ranges::find_if(mounts_, [&](const Mount& m) { return m.id == mount.parent; });
      if (below == mounts_.end()) continue;
      const bool good = below->pid_namespace == 0
                            ? mount.pid_namespace == 0 || mount.root == "/"
                            : mount.pid_namespace == below->pid_namespace && mount.root != "/";
      if (!good) refuse(mount, "only parts of the /proc of a PID namespace are mounted again below it");
    }
  }

  void refuse(const Mount& mount, std::string why) {
    obstacles_.push_back({pid_, "mount " + mount.mount_point, std::move(why), ""});
  }

  pid_t pid_;
  std::vector<Mount>& mounts_;
  std::vector<Obstacle>& obstacles_;
  std::uint64_t own_ = os::namespace_id(0, "pid").value_or(0);
  std::map<dev_t, std::uint64_t> shown_;  // by those that are mounted as a whole
};

}  // namespace

Result<std::vector<Mount>> read_mounts(pid_t pid, std::vector<Obstacle>& obstacles) {
  TRY_ASSIGN(auto own, os::read_mountinfo(0));
  TRY_ASSIGN(const auto theirs, os::read_mountinfo(pid));
  MountReader reader(pid, std::move(own), obstacles);
  std::vector<Mount> mounts;
  // Those that something else is mounted over, at the same place or at a directory above it, are left out: they
  // show nothing.
  std::vector<os::MountInfo> visible;
  std::copy_if(theirs.begin(), theirs.end(), std::back_inserter(visible),
               [&](const auto& info) { return os::mount_of(theirs, info.mount_point) == &info; });
  for (const auto& info : visible) {
    auto mount = reader.read(info);
    const auto* below =
        info.mount_point == "/" ? nullptr : os::mount_of(theirs, directory_of(info.mount_point));
    mount.parent = below == nullptr ? 0 : below->id;
    mounts.push_back(std::move(mount));
  }
  ProcReader(pid, mounts, obstacles).look();
  return mounts;
}

}  // namespace upkeep::engine
