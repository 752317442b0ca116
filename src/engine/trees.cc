#include "engine/trees.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "engine/engine.h"
#include "engine/inspect/inspect.h"
#include "engine/inspect/sockets/taken_connections.h"
#include "os/file.h"
#include "os/kernel_memory.h"

namespace upkeep::engine {
namespace {

using Clock = std::chrono::steady_clock;

std::int64_t since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
}

// A new directory, or one that is there and empty. What was written goes away again unless it is kept.
class SaveDirectory {
 public:
  static Result<SaveDirectory> make(const std::string& path) {
    SaveDirectory directory(path);
    if (os::exists(path)) {
      TRY_ASSIGN(const auto names, os::list_directory(path));
      if (!names.empty()) return Err("{}: there is something in it already", path);
      if (::chmod(path.c_str(), 0700) < 0) return ErrnoErr("chmod {}", path);
    } else {
      if (::mkdir(path.c_str(), 0700) < 0) return ErrnoErr("mkdir {}", path);
      directory.made_ = true;
    }
    directory.active_ = true;
    return directory;
  }
  SaveDirectory(SaveDirectory&& other) noexcept
      : path_(std::move(other.path_)), made_(other.made_), active_(std::exchange(other.active_, false)) {}
  SaveDirectory& operator=(SaveDirectory&&) = delete;
  ~SaveDirectory() {
    if (!active_) return;
    remove_image(path_);
    if (made_) ::rmdir(path_.c_str());
  }
  void keep() { active_ = false; }

 private:
  explicit SaveDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
  bool made_ = false, active_ = false;
};

// In networks of their own nobody else sees them, and they are held there.
bool has_connections(const Snapshot& snapshot) {
  return std::ranges::any_of(snapshot.files, [](const auto& f) {
    return f.socket && f.socket->connection && f.socket->network == 0;
  });
}

// Connections of theirs outlive them by a moment, in which they are made to end without a word.
Result<void> end(StoppedSet stopped, const NetworkHooks& network) {
  TRY_ASSIGN(auto connections, std::move(stopped).end());
  auto kept = network.keep ? network.keep() : Result<void>();
  TRY(connections.close_silently());
  TRY_IN("the snapshot is complete, but its connections are lost", std::move(kept));
  return {};
}

}  // namespace

Result<Inspected> inspect_trees(const std::vector<pid_t>& roots, bool stop) {
  TRY_ASSIGN(const auto set, collect(roots));
  Inspected result;
  if (!stop) {
    TRY_ASSIGN(result.snapshot, glance(set.roots()));
    return result;
  }
  const auto begin = Clock::now();
  {
    TRY_ASSIGN(const auto stopped, StoppedSet::stop(set.roots()));
    TRY_ASSIGN(result.snapshot, inspect(stopped.tree(), {}));
  }
  result.stopped_ns = since(begin);
  return result;
}

Result<Saved> save_trees(const std::vector<pid_t>& roots, const std::string& directory, bool leave_running,
                         const NetworkHooks& network) {
  TRY_ASSIGN(const auto set, collect(roots));
  const os::KernelMemory::Use use;  // by both looks
  TRY_ASSIGN(const auto before, glance(set.roots()));
  TRY(refuse_obstacles(before));
  TRY_ASSIGN(auto written, SaveDirectory::make(directory));
  TRY_ASSIGN(auto image, ImageWriter::create(directory));
  Saved saved;
  const auto begin = Clock::now();
  TRY_ASSIGN(auto stopped, StoppedSet::stop(set.roots()));
  if (network.hold) TRY(network.hold(stopped.pids()));
  TRY(stopped.save(image, Durability::on_disk));
  const auto& snapshot = stopped.saved();
  if (has_connections(snapshot) && !network.hold)
    return Err("there are TCP connections, and nobody holds the network meanwhile");
  for (const auto& process : snapshot.processes) saved.pids.push_back(process.pid);
  saved.page_bytes = image.page_bytes();
  written.keep();
  if (!leave_running) TRY(end(std::move(stopped), network));
  saved.stopped_ns = since(begin);
  return saved;
}

bool is_saved_tree(const std::string& directory) { return holds_image(directory); }

Result<RestoredTrees> restore_trees(const std::string& directory, bool stopped, const NetworkHooks& network) {
  TRY_ASSIGN(const auto path, os::real_path(directory));
  TRY_ASSIGN(const auto loaded, LoadedSet::load(path));
  TRY_ASSIGN(auto made, loaded.make());
  // From here on they are there, whatever else fails.
  auto live = made.go_live();
  if (network.release) {
    auto released = network.release();
    if (!released && live) live = std::move(released);
  }
  (void)made.release(stopped ? MadeSet::Then::stand_stopped : MadeSet::Then::run);
  TRY_IN("the processes are there again, but not all of their connections", std::move(live));
  return RestoredTrees{made.roots(), made.pids()};
}

}  // namespace upkeep::engine
