#include "engine/rebuild/namespaces/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "os/file.h"
#include "os/mount.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

struct Attribute {
  std::string_view name;
  std::uint64_t flag;
};
constexpr Attribute kAttributes[] = {{"ro", MOUNT_ATTR_RDONLY},
                                     {"nosuid", MOUNT_ATTR_NOSUID},
                                     {"nodev", MOUNT_ATTR_NODEV},
                                     {"noexec", MOUNT_ATTR_NOEXEC},
                                     {"nodiratime", MOUNT_ATTR_NODIRATIME},
                                     {"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW}};

std::vector<std::string_view> split_options(std::string_view options) {
  std::vector<std::string_view> words;
  while (!options.empty()) {
    const auto comma = options.find(',');
    words.push_back(options.substr(0, comma));
    options.remove_prefix(comma == std::string_view::npos ? options.size() : comma + 1);
  }
  return words;
}

// Of a file system, but for whether it can be written.
std::string own_options(const Mount& mount) {
  std::string options;
  for (const auto word : split_options(mount.super_options)) {
    if (word != "ro" && word != "rw") options += (options.empty() ? "" : ",") + std::string(word);
  }
  return options;
}
bool is_read_only(const Mount& mount) {
  const auto words = split_options(mount.super_options);
  return std::find(words.begin(), words.end(), "ro") != words.end();
}

mount_attr attributes_of(const std::string& options) {
  mount_attr attributes = {};
  const auto words = split_options(options);
  auto has = [&](std::string_view word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  for (const auto& [name, flag] : kAttributes)
    (has(name) ? attributes.attr_set : attributes.attr_clr) |= flag;
  attributes.attr_clr |= MOUNT_ATTR__ATIME;
  if (has("noatime"))
    attributes.attr_set |= MOUNT_ATTR_NOATIME;
  else if (!has("relatime"))  // which is 0
    attributes.attr_set |= MOUNT_ATTR_STRICTATIME;
  return attributes;
}

Result<void> set_attributes(os::Fd mount, const mount_attr& attributes) {
  mount_attr copy = attributes;
  if (::mount_setattr(mount.get(), "", AT_EMPTY_PATH, &copy, sizeof copy) < 0)
    return ErrnoErr("mount_setattr");
  return {};
}

Result<void> set_propagation(os::Fd mount, std::uint64_t propagation) {
  mount_attr attributes = {};
  attributes.propagation = propagation;
  return set_attributes(mount, attributes);
}

Result<os::UniqueFd> copy_of(const std::string& path) {
  os::UniqueFd fd(::open_tree(AT_FDCWD, path.c_str(),
                              OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW));
  if (!fd.valid()) return ErrnoErr("open_tree {}", path);
  return fd;
}

Result<void> make_node(const std::string& root, const Node& node) {
  const auto path = root + node.path;
  if (S_ISDIR(node.mode)) {
    if (!node.path.empty() && ::mkdir(path.c_str(), 0700) < 0) return ErrnoErr("mkdir {}", path);
  } else if (S_ISLNK(node.mode)) {
    if (::symlink(node.target.c_str(), path.c_str()) < 0) return ErrnoErr("symlink {}", path);
  } else if (::mknod(path.c_str(), node.mode, node.device_number) < 0) {
    return ErrnoErr("mknod {}", path);
  }
  if (S_ISREG(node.mode) && !node.data.data.empty()) {
    TRY_ASSIGN(const auto file, os::open_file(path, O_WRONLY));
    TRY(os::write_all(file, std::as_bytes(std::span(node.data.data))));
  }
  if (::lchown(path.c_str(), node.uid, node.gid) < 0) return ErrnoErr("lchown {}", path);
  if (!S_ISLNK(node.mode) && ::chmod(path.c_str(), node.mode & 07777U) < 0) return ErrnoErr("chmod {}", path);
  return {};
}

// Children before parents, whose times they change.
Result<void> set_times(const std::string& root, const std::vector<Node>& nodes) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    const timespec modified = {node->modified / kSecond, node->modified % kSecond};
    const timespec times[] = {modified, modified};
    const auto path = root + node->path;
    if (::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0)
      return ErrnoErr("utimensat {}", path);
  }
  return {};
}

// A directory or file in the host's memory that is not there any more (below /run, in another kernel).
Result<void> make_source(const Mount& mount) {
  struct stat status = {};
  if (::lstat(mount.host_path.c_str(), &status) == 0 || mount.contents.empty()) return {};
  const bool directory = S_ISDIR(mount.contents.front().mode);
  TRY(os::make_directories(directory ? mount.host_path
                                     : mount.host_path.substr(0, mount.host_path.rfind('/'))));
  for (const auto& node : mount.contents) TRY(make_node(mount.host_path, node));
  return set_times(mount.host_path, mount.contents);
}

Result<void> propagate(const Mount& mount, os::Fd fd) {
  if (mount.master == 0) TRY(set_propagation(fd, mount.unbindable ? MS_UNBINDABLE : MS_PRIVATE));
  if (mount.shared != 0) TRY(set_propagation(fd, MS_SHARED));
  return {};
}

// The recorded mounts are put together on a scratch file system, each one a copy of one of the host's mounts,
// or of a file system made anew; the result becomes the root. Attributes and propagation come last: what is
// read-only cannot be given mount points, and what is shared would appear elsewhere.
class MountTree {
 public:
  MountTree(const std::vector<Mount>& mounts, std::string scratch)
      : mounts_(mounts), scratch_(std::move(scratch)) {}

  Result<void> make() {
    // What is mounted from here on does not appear anywhere else; copies go on receiving what the host
    // mounts.
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) return ErrnoErr("making / a slave");
    TRY_ASSIGN(own_, os::read_mountinfo(0));
    TRY(os::mount_file_system("tmpfs", scratch_, "tmpfs", "mode=0700"));
    for (const auto& mount : mounts_) {
      if (mount.host_path.empty() && mount.pid_namespace == 0)
        TRY_IN("mount " + mount.mount_point, make_file_system(mount));
    }
    TRY(fill_file_systems());
    const auto* root = find_root();
    if (root == nullptr) return Err("there is no mount for /");
    const auto place = scratch_ + "/root";
    TRY(os::make_directories(place));
    TRY_IN("mount /", attach(*root, os::Fd(AT_FDCWD), place));
    TRY(attach_below(*root, *root));
    TRY(become_root());
    for (const auto& [mount, fd] : attached_) {
      TRY_IN("mount " + mount->mount_point, set_attributes(fd, attributes_of(mount->options)));
      TRY_IN("mount " + mount->mount_point, propagate(*mount, fd));
    }
    return {};
  }

 private:
  const Mount* find_root() const {
    for (const auto& mount : mounts_) {
      const bool top = std::none_of(mounts_.begin(), mounts_.end(),
                                    [&](const Mount& other) { return other.id == mount.parent; });
      if (top) return &mount;
    }
    return nullptr;
  }

  std::string place_of(const Mount& mount) const {
    return fmt::format("{}/{}-{}", scratch_, mount.major, mount.minor);
  }

  // One that all mounts of it are copied from.
  Result<void> make_file_system(const Mount& mount) {
    const auto place = place_of(mount);
    if (mount.root == "/" && !mount.contents.empty()) contents_[place] = &mount.contents;
    if (!made_.insert(place).second) return {};
    TRY(os::make_directories(place));
    TRY(os::mount_file_system(mount.source, place, mount.fs_type, own_options(mount)));
    if (is_read_only(mount)) read_only_.push_back(place);
    return {};
  }

  Result<void> fill_file_systems() {
    for (const auto& [place, nodes] : contents_) {
      for (const auto& node : *nodes) TRY(make_node(place, node));
      TRY(set_times(place, *nodes));
    }
    return {};
  }

  Result<void> close_file_systems() {
    for (const auto& place : read_only_) {
      if (::mount(nullptr, place.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) < 0)
        return ErrnoErr("making {} read-only", place);
    }
    return {};
  }

  // What the host had, and has not yet or not any more: it appears here too when the host gets it.
  bool left_out(const Mount& mount) const {
    if (!mount.inherited) return false;
    return std::none_of(own_.begin(), own_.end(), [&](const os::MountInfo& own) {
      return own.mount_point == mount.mount_point && own.fs_type == mount.fs_type;
    });
  }

  Result<os::UniqueFd> source_of(const Mount& mount) {
    if (mount.pid_namespace != 0) return copy_of("/proc");
    if (mount.host_path.empty())
      return copy_of(place_of(mount) + (mount.root == "/" ? std::string() : mount.root));
    TRY(make_source(mount));
    const auto* lies_on = os::mount_of(own_, mount.host_path);
    if (lies_on == nullptr || lies_on->fs_type != mount.fs_type)
      return Err("{} lies on another kind of file system than it did ({})", mount.host_path, mount.fs_type);
    return copy_of(mount.host_path);
  }

  Result<void> attach(const Mount& mount, os::Fd parent, const std::string& place) {
    TRY_ASSIGN(auto fd, source_of(mount));
    if (::move_mount(fd.get(), "", parent.get(), place.c_str(), MOVE_MOUNT_F_EMPTY_PATH) < 0)
      return ErrnoErr("move_mount");
    attached_.emplace_back(&mount, std::move(fd));
    return {};
  }

  // Those deeper down first: what is mounted above them may hide where they belong.
  Result<void> attach_below(const Mount& mount, const Mount& on) {
    std::vector<const Mount*> children;
    for (const auto& other : mounts_) {
      const bool late = other.pid_namespace != 0 && other.root != "/";
      if (other.parent == mount.id && &other != &mount && !late) children.push_back(&other);
    }
    std::stable_sort(children.begin(), children.end(), [](const Mount* a, const Mount* b) {
      return a->mount_point.size() > b->mount_point.size();
    });
    for (const auto* child : children) {
      if (left_out(*child)) {
        TRY(attach_below(*child, on));
        continue;
      }
      TRY_IN("mount " + child->mount_point, attach_child(*child, on));
    }
    for (const auto* child : children) {
      if (!left_out(*child)) TRY(attach_below(*child, *child));
    }
    return {};
  }

  Result<void> attach_child(const Mount& child, const Mount& on) {
    auto place = child.mount_point.substr(on.mount_point == "/" ? 1 : on.mount_point.size());
    while (place.starts_with('/')) place.erase(0, 1);
    const auto found =
        std::find_if(attached_.begin(), attached_.end(), [&](const auto& a) { return a.first == &on; });
    if (found == attached_.end()) return Err("{} is not mounted", on.mount_point);
    if (place.empty()) return Err("it hides {}", on.mount_point);
    TRY(make_mount_point(child, found->second, place));
    return attach(child, found->second, place);
  }

  static Result<void> make_mount_point(const Mount& child, os::Fd parent, const std::string& place) {
    struct stat status = {};
    if (::fstatat(parent.get(), place.c_str(), &status, AT_NO_AUTOMOUNT) == 0) return {};
    if (errno != ENOENT) return ErrnoErr("{}", child.mount_point);
    const bool is_file = !child.contents.empty() && !S_ISDIR(child.contents.front().mode);
    const auto path = fmt::format("/proc/self/fd/{}/{}", parent.get(), place);
    if (!is_file) return os::make_directories(path);
    TRY_ASSIGN(const auto file, os::open_file(path, O_WRONLY | O_CREAT, 0600));
    return {};
  }

  Result<void> become_root() {
    TRY(close_file_systems());
    const auto root = scratch_ + "/root";
    if (::chdir(root.c_str()) < 0) return ErrnoErr("chdir");
    if (::syscall(SYS_pivot_root, ".", ".") < 0) return ErrnoErr("pivot_root");
    if (::umount2(".", MNT_DETACH) < 0) return ErrnoErr("letting the former root go");
    if (::chdir("/") < 0) return ErrnoErr("chdir /");
    return {};
  }

  const std::vector<Mount>& mounts_;
  std::string scratch_;
  std::vector<os::MountInfo> own_;
  std::set<std::string> made_;
  std::map<std::string, const std::vector<Node>*> contents_;
  std::vector<std::string> read_only_;
  std::vector<std::pair<const Mount*, os::UniqueFd>> attached_;
};

Result<void> finish_proc(const Mount& mount) {
  const auto& place = mount.mount_point;
  if (mount.root == "/" && is_read_only(mount) &&
      ::mount(nullptr, place.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) < 0)
    return ErrnoErr("making it read-only");
  TRY_ASSIGN(const auto fd, os::open_file(place, O_PATH | O_DIRECTORY));
  TRY(set_attributes(fd, attributes_of(mount.options)));
  return propagate(mount, fd);
}

// PROCS: where each file system is mounted as a whole.
Result<void> mount_proc(const Mount& mount, std::map<std::pair<unsigned, unsigned>, std::string>& procs) {
  const auto& place = mount.mount_point;
  if (mount.root == "/" && ::umount2(place.c_str(), MNT_DETACH) < 0) return ErrnoErr("umount");
  const auto [whole, first] = procs.try_emplace({mount.major, mount.minor}, place);
  if (first) {
    TRY(os::mount_file_system(mount.source, place, mount.fs_type, own_options(mount)));
    return {};
  }
  TRY_ASSIGN(const auto fd, copy_of(whole->second + (mount.root == "/" ? std::string() : mount.root)));
  if (::move_mount(fd.get(), "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return ErrnoErr("move_mount");
  return {};
}

}  // namespace

Result<void> mount_procs(const std::vector<Mount>& mounts, std::uint64_t pid_namespace) {
  std::map<std::pair<unsigned, unsigned>, std::string> procs;
  std::vector<const Mount*> made;
  for (const bool whole : {true, false}) {
    for (const auto& mount : mounts) {
      if (mount.pid_namespace != pid_namespace || (mount.root == "/") != whole) continue;
      TRY_IN("mount " + mount.mount_point, mount_proc(mount, procs));
      made.push_back(&mount);
    }
  }
  for (const auto* mount : made) TRY_IN("mount " + mount->mount_point, finish_proc(*mount));
  return {};
}

Result<void> make_mount_tree(const std::vector<Mount>& mounts, const std::string& scratch) {
  return MountTree(mounts, scratch).make();
}

}  // namespace upkeep::engine
