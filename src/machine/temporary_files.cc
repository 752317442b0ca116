#include "machine/temporary_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "machine/used_files.h"
#include "os/file.h"

namespace upkeep::machine {
namespace {

struct Saver {
  memory::StoreWriter& store;
  nlohmann::json entries = nlohmann::json::array();
  int contents = 0;

  Result<void> save(const std::string& path) {
    struct stat st = {};
    if (::lstat(path.c_str(), &st) < 0) return errno == ENOENT ? Result<void>() : ErrnoErr("stat {}", path);
    if (S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) return {};
    nlohmann::json entry = {{"path", path},
                            {"mode", st.st_mode},
                            {"uid", st.st_uid},
                            {"gid", st.st_gid},
                            {"mtime", {st.st_mtim.tv_sec, st.st_mtim.tv_nsec}}};
    if (S_ISLNK(st.st_mode)) {
      TRY_ASSIGN(entry["target"], os::read_link(path));
    } else if (S_ISREG(st.st_mode)) {
      TRY_ASSIGN(auto file, os::open_file(path, O_RDONLY | O_NOFOLLOW));
      const std::string name = std::to_string(contents++);
      TRY(store.add_file("tmpfs/" + name, file));
      entry["content"] = name;
    }
    entries.push_back(std::move(entry));
    if (!S_ISDIR(st.st_mode)) return {};
    TRY_ASSIGN(auto names, os::list_directory(path));
    for (const auto& name : names) TRY(save(path + "/" + name));
    return {};
  }
};

class Mapped {
 public:
  Mapped(os::Fd file, off_t offset, std::size_t size, int protection, int flags)
      : size_(size), start_(::mmap(nullptr, size, protection, MAP_SHARED | flags, file.get(), offset)) {}
  Mapped(const Mapped&) = delete;
  ~Mapped() {
    if (valid()) ::munmap(start_, size_);
  }
  bool valid() const { return start_ != MAP_FAILED; }
  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(start_), size_}; }

 private:
  std::size_t size_;
  void* start_;
};

// hugetlbfs has no write(2). Pages of which nothing is written stay holes.
Result<void> copy_huge_pages(os::Fd in, os::Fd out, std::size_t page_size) {
  struct stat st = {};
  if (::fstat(in.get(), &st) < 0) return ErrnoErr("fstat");
  if (::ftruncate(out.get(), st.st_size) < 0) return ErrnoErr("ftruncate");
  if (st.st_size == 0) return {};
  const Mapped all(in, 0, static_cast<std::size_t>(st.st_size), PROT_READ, 0);
  if (!all.valid()) return ErrnoErr("mmap");
  for (std::size_t at = 0; at < all.bytes().size(); at += page_size) {
    const auto from = all.bytes().subspan(at, std::min(page_size, all.bytes().size() - at));
    if (std::all_of(from.begin(), from.end(), [](std::byte byte) { return byte == std::byte{}; })) continue;
    const Mapped page(out, static_cast<off_t>(at), page_size, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    if (!page.valid()) return ErrnoErr("mmap");
    // A page that the pool does not have is a signal for whoever touches it.
    if (::madvise(page.bytes().data(), page_size, MADV_POPULATE_WRITE) < 0)
      return ErrnoErr("a huge page of {} kB", page_size / 1024);
    std::copy(from.begin(), from.end(), page.bytes().begin());
  }
  return {};
}

Result<void> copy_content(const std::string& from, const std::string& to) {
  TRY_ASSIGN(auto in, os::open_file(from, O_RDONLY));
  TRY_ASSIGN(auto out, os::open_file(to, O_RDWR | O_CREAT | O_EXCL, 0600));
  struct statfs system = {};
  if (::fstatfs(out.get(), &system) == 0 && system.f_type == HUGETLBFS_MAGIC) {
    TRY_IN(to, copy_huge_pages(in, out, static_cast<std::size_t>(system.f_bsize)));
    return {};
  }
  for (;;) {
    ssize_t n = ::sendfile(out.get(), in.get(), nullptr, 1 << 30);
    if (n < 0) return ErrnoErr("copy {} to {}", from, to);
    if (n == 0) return {};
  }
}

Result<void> make(const std::string& path, mode_t mode, const nlohmann::json& entry,
                  const std::string& contents) {
  if (os::exists(path)) return {};
  if (S_ISDIR(mode)) return os::make_directories(path, 0700);
  if (S_ISLNK(mode)) {
    if (::symlink(entry.at("target").get<std::string>().c_str(), path.c_str()) < 0)
      return ErrnoErr("symlink {}", path);
    return {};
  }
  if (S_ISFIFO(mode)) {
    if (::mkfifo(path.c_str(), 0600) < 0) return ErrnoErr("mkfifo {}", path);
    return {};
  }
  return copy_content(contents + "/" + entry.at("content").get<std::string>(), path);
}

}  // namespace

std::vector<std::string> temporary_directories(const std::vector<pid_t>& pids,
                                               const std::vector<os::MountInfo>& mounts) {
  std::set<std::string> directories;
  for (const auto& used : used_paths(pids)) {
    const auto* mount = os::mount_of(mounts, used.path);
    const bool memory = mount != nullptr && (mount->fs_type == "tmpfs" || mount->fs_type == "hugetlbfs");
    if (!memory) continue;
    if (mount->mount_point != "/run") {
      directories.insert(mount->mount_point);
      continue;
    }
    auto below = used.path.substr(5);  // after "/run/"
    auto slash = below.find('/');
    const std::string first = below.substr(0, slash);
    // What systemd, udev and dbus keep there is theirs to make anew, for the new kernel.
    constexpr std::array<std::string_view, 8> kOthers = {"systemd", "udev",        "dbus",   "user",
                                                         "log",     "credentials", "upkeep", "lock"};
    if (std::find(kOthers.begin(), kOthers.end(), first) != kOthers.end() || used.path == "/run") continue;
    directories.insert("/run/" + first);
  }
  return {directories.begin(), directories.end()};
}

Result<nlohmann::json> save_temporary_files(const std::vector<std::string>& directories,
                                            memory::StoreWriter& store) {
  Saver saver{store};
  for (const auto& directory : directories) TRY(saver.save(directory));
  return std::move(saver.entries);
}

Result<void> put_back_temporary_files(const nlohmann::json& files, const std::string& contents) {
  try {
    for (const auto& entry : files) {
      const auto path = entry.at("path").get<std::string>();
      const auto mode = entry.at("mode").get<mode_t>();
      TRY(make(path, mode, entry, contents));
      if (::lchown(path.c_str(), entry.at("uid").get<uid_t>(), entry.at("gid").get<gid_t>()) < 0)
        return ErrnoErr("chown {}", path);
      if (!S_ISLNK(mode) && ::chmod(path.c_str(), mode & 07777U) < 0) return ErrnoErr("chmod {}", path);
    }
    // Times last: making what is in a directory changes the directory's.
    for (const auto& entry : files) {
      const timespec time = {entry.at("mtime").at(0).get<time_t>(), entry.at("mtime").at(1).get<long>()};
      const timespec times[2] = {time, time};
      (void)::utimensat(AT_FDCWD, entry.at("path").get<std::string>().c_str(), times, AT_SYMLINK_NOFOLLOW);
    }
  } catch (const nlohmann::json::exception& error) {
    return Err("temporary files in the manifest: {}", error.what());
  }
  return {};
}

}  // namespace upkeep::machine
