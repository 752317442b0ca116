#include "engine/native/trees.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "engine/carry_set.h"
#include "engine/native/compare.h"
#include "engine/native/inspect/inspect.h"
#include "engine/native/rebuild/rebuild.h"
#include "os/file.h"

namespace upkeep::native {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kManifest = "/manifest.json";
constexpr const char* kPages = "/pages";

std::int64_t since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
}

// One error that names them all.
Result<void> refuse_obstacles(const Snapshot& snapshot) {
  if (snapshot.obstacles.empty()) return {};
  std::string text;
  for (const auto& obstacle : snapshot.obstacles) {
    text += fmt::format("\n  process {}, {}: {}", obstacle.pid, obstacle.what, obstacle.why);
    if (!obstacle.remedy.empty()) text += fmt::format(" ({})", obstacle.remedy);
  }
  return Err("cannot be carried:{}", text);
}

// A new folder, or one that is there and empty. What was written goes away again unless it is kept.
class SaveFolder {
 public:
  static Result<SaveFolder> make(const std::string& path) {
    SaveFolder folder(path);
    if (os::exists(path)) {
      TRY_ASSIGN(const auto names, os::list_directory(path));
      if (!names.empty()) return Err("{}: there is something in it already", path);
      if (::chmod(path.c_str(), 0700) < 0) return ErrnoErr("chmod {}", path);
    } else {
      if (::mkdir(path.c_str(), 0700) < 0) return ErrnoErr("mkdir {}", path);
      folder.made_ = true;
    }
    folder.active_ = true;
    return folder;
  }
  SaveFolder(SaveFolder&& other) noexcept
      : path_(other.path_), made_(other.made_), active_(std::exchange(other.active_, false)) {}
  SaveFolder& operator=(SaveFolder&&) = delete;
  ~SaveFolder() {
    if (!active_) return;
    ::unlink((path_ + kManifest).c_str());
    ::unlink((path_ + kPages).c_str());
    if (made_) ::rmdir(path_.c_str());
  }
  void keep() { active_ = false; }

 private:
  explicit SaveFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
  bool made_ = false, active_ = false;
};

class PageFile {
 public:
  static Result<PageFile> make(const std::string& path) {
    TRY_ASSIGN(auto fd, os::open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    return PageFile(std::move(fd));
  }
  Result<std::uint64_t> append(std::span<const std::byte> bytes) {
    TRY(os::write_all(fd_, bytes));
    return std::exchange(size_, size_ + bytes.size());
  }
  Result<void> sync() const {
    if (::fsync(fd_.get()) < 0) return ErrnoErr("fsync");
    return {};
  }
  std::uint64_t size() const { return size_; }

 private:
  explicit PageFile(os::UniqueFd fd) : fd_(std::move(fd)) {}
  os::UniqueFd fd_;
  std::uint64_t size_ = 0;
};

// Whoever can write a manifest can run anything as anybody.
Result<void> belongs_to_root(const std::string& path) {
  struct stat status = {};
  if (::lstat(path.c_str(), &status) < 0) return ErrnoErr("{}", path);
  if (status.st_uid != 0 || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 || S_ISLNK(status.st_mode))
    return Err("{} does not belong to root alone: it is not read", path);
  return {};
}

// How much of the file of pages the manifest speaks of.
std::uint64_t page_bytes(const Snapshot& snapshot) {
  std::uint64_t end = 0;
  auto reach = [&end](const std::vector<PageRun>& runs) {
    for (const auto& run : runs) end = std::max(end, run.position + run.count * kPage);
  };
  for (const auto& process : snapshot.processes) reach(process.memory.pages);
  for (const auto& memory : snapshot.shared_memory) reach(memory.pages);
  return end;
}

Result<Snapshot> load(const std::string& folder) {
  for (const auto& path : {folder, folder + kManifest, folder + kPages}) TRY(belongs_to_root(path));
  TRY_ASSIGN(const auto text, os::read_file(folder + kManifest));
  auto snapshot = read_manifest(text);
  if (!snapshot) return tl::unexpected(std::move(snapshot).error().in(folder + kManifest));
  struct stat status = {};
  if (::stat((folder + kPages).c_str(), &status) < 0) return ErrnoErr("{}{}", folder, kPages);
  if (static_cast<std::uint64_t>(status.st_size) != page_bytes(*snapshot))
    return Err("{}{}: {} bytes, where the manifest speaks of {}", folder, kPages, status.st_size,
               page_bytes(*snapshot));
  return snapshot;
}

// The same model is read from the new tasks, and compared.
Result<StoppedTree> verify(const Snapshot& wanted, NewTasks tasks) {
  std::vector<HeldProcess> held;
  for (auto& process : tasks.processes()) {
    auto& one = held.emplace_back();
    one.pid = process.pid;
    one.zombie = process.threads.empty();
    for (auto& thread : process.threads) one.threads.push_back({std::move(thread), false});
  }
  tasks.processes().clear();
  // In the order of the model, which is not always that in which they were made.
  auto position = [&](pid_t pid) { return wanted.find(pid) - wanted.processes.data(); };
  std::sort(held.begin(), held.end(),
            [&](const auto& a, const auto& b) { return position(a.pid) < position(b.pid); });
  auto tree = StoppedTree::adopt(std::move(held));
  auto found = inspect(tree, {});
  auto same = found ? compare(wanted, *found) : Result<void>(tl::unexpected(std::move(found).error()));
  if (same) return tree;
  (void)tree.kill();
  return tl::unexpected(std::move(same).error());
}

}  // namespace

Result<Inspected> inspect_trees(const std::vector<pid_t>& roots, bool stop) {
  TRY_ASSIGN(const auto set, engine::collect(roots));
  Inspected result;
  if (!stop) {
    TRY_ASSIGN(result.snapshot, glance(set.roots()));
    return result;
  }
  const auto begin = Clock::now();
  {
    TRY_ASSIGN(const auto tree, StoppedTree::stop(set.roots()));
    TRY_ASSIGN(result.snapshot, inspect(tree, {}));
  }
  result.stopped_ns = since(begin);
  return result;
}

Result<Saved> save_trees(const std::vector<pid_t>& roots, const std::string& folder, bool leave_running) {
  TRY_ASSIGN(const auto set, engine::collect(roots));
  TRY_ASSIGN(const auto before, glance(set.roots()));
  TRY(refuse_obstacles(before));
  TRY_ASSIGN(auto written, SaveFolder::make(folder));
  TRY_ASSIGN(auto pages, PageFile::make(folder + kPages));
  Saved saved;
  const auto begin = Clock::now();
  TRY_ASSIGN(auto tree, StoppedTree::stop(set.roots()));
  InspectRequest request;
  request.sink = [&pages](std::span<const std::byte> bytes) { return pages.append(bytes); };
  TRY_ASSIGN(const auto snapshot, inspect(tree, request));
  TRY(refuse_obstacles(snapshot));
  for (const auto& process : snapshot.processes) saved.pids.push_back(process.pid);
  saved.page_bytes = pages.size();
  TRY(pages.sync());
  TRY(os::replace_file(folder + kManifest, write_manifest(snapshot), 0600));
  written.keep();
  if (!leave_running) TRY(tree.kill());
  saved.stopped_ns = since(begin);
  return saved;
}

bool is_saved_tree(const std::string& folder) { return os::exists(folder + kManifest); }

Result<Restored> restore_trees(const std::string& folder, bool stopped) {
  TRY_ASSIGN(const auto path, os::real_path(folder));
  TRY_ASSIGN(const auto snapshot, load(path));
  TRY_ASSIGN(auto tasks, rebuild(snapshot, path + kPages));
  TRY_ASSIGN(const auto tree, verify(snapshot, std::move(tasks)));
  Restored restored;
  restored.roots = snapshot.roots();
  for (const auto& process : snapshot.processes) {
    restored.pids.push_back(process.pid);
    if (!process.exit_status && (stopped || process.job_stopped)) ::kill(process.pid, SIGSTOP);
  }
  return restored;
}

}  // namespace upkeep::native
