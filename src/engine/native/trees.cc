#include "engine/native/trees.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "engine/carry_set.h"
#include "engine/native/image.h"
#include "engine/native/inspect/inspect.h"
#include "engine/native/rebuild/rebuild.h"
#include "engine/native/verify.h"
#include "os/file.h"

namespace upkeep::native {
namespace {

using Clock = std::chrono::steady_clock;

std::int64_t since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
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
      : path_(std::move(other.path_)), made_(other.made_), active_(std::exchange(other.active_, false)) {}
  SaveFolder& operator=(SaveFolder&&) = delete;
  ~SaveFolder() {
    if (!active_) return;
    remove_image(path_);
    if (made_) ::rmdir(path_.c_str());
  }
  void keep() { active_ = false; }

 private:
  explicit SaveFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
  bool made_ = false, active_ = false;
};

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
  TRY_ASSIGN(auto image, ImageWriter::create(folder));
  Saved saved;
  const auto begin = Clock::now();
  TRY_ASSIGN(auto tree, StoppedTree::stop(set.roots()));
  TRY_ASSIGN(const auto snapshot, image.write(tree, /*durable=*/true));
  for (const auto& process : snapshot.processes) saved.pids.push_back(process.pid);
  saved.page_bytes = image.page_bytes();
  written.keep();
  if (!leave_running) TRY(tree.kill());
  saved.stopped_ns = since(begin);
  return saved;
}

bool is_saved_tree(const std::string& folder) { return holds_image(folder); }

Result<Restored> restore_trees(const std::string& folder, bool stopped) {
  TRY_ASSIGN(const auto path, os::real_path(folder));
  TRY_ASSIGN(const auto snapshot, load_image(path));
  TRY_ASSIGN(auto tasks, rebuild(snapshot, pages_of(path)));
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
