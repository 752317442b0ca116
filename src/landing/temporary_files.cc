#include "landing/temporary_files.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "os/file.h"

namespace upkeep::landing {
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

Result<void> copy_content(const std::string& from, const std::string& to) {
  TRY_ASSIGN(auto in, os::open_file(from, O_RDONLY));
  TRY_ASSIGN(auto out, os::open_file(to, O_WRONLY | O_CREAT | O_EXCL, 0600));
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

Result<nlohmann::json> save_temporary_files(const std::vector<std::string>& folders,
                                            memory::StoreWriter& store) {
  Saver saver{store};
  for (const auto& folder : folders) TRY(saver.save(folder));
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
    // Times last: making what is in a folder changes the folder's.
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

}  // namespace upkeep::landing
