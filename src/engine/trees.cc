#include "engine/trees.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "engine/carry_set.h"
#include "engine/image.h"
#include "engine/inspect/inspect.h"
#include "engine/inspect/sockets/connections.h"
#include "engine/kernel_crossing.h"
#include "engine/rebuild/rebuild.h"
#include "engine/verify/verify.h"
#include "os/file.h"
#include "os/kernel_memory.h"

namespace upkeep::engine {
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

// In networks of their own nobody else sees them, and they are held there.
bool has_connections(const Snapshot& snapshot) {
  return std::ranges::any_of(snapshot.files, [](const auto& f) {
    return f.socket && f.socket->connection && f.socket->network == 0;
  });
}

Result<void> hold(const StoppedTree& tree, const NetworkHooks& network) {
  if (!network.hold) return {};
  std::vector<pid_t> pids;
  for (const auto& process : tree.processes()) pids.push_back(process.pid);
  return network.hold(pids);
}

// Connections of theirs outlive them by a moment, in which they are made to end without a word.
Result<void> end(StoppedTree& tree, const Snapshot& snapshot, const NetworkHooks& network) {
  TRY_ASSIGN(auto connections, TakenConnections::take(snapshot));
  TRY(tree.kill());
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
    TRY_ASSIGN(const auto tree, StoppedTree::stop(set.roots()));
    TRY_ASSIGN(result.snapshot, inspect(tree, {}));
  }
  result.stopped_ns = since(begin);
  return result;
}

Result<Saved> save_trees(const std::vector<pid_t>& roots, const std::string& folder, bool leave_running,
                         const NetworkHooks& network) {
  TRY_ASSIGN(const auto set, collect(roots));
  const os::KernelMemory::Use use;  // by both looks
  TRY_ASSIGN(const auto before, glance(set.roots()));
  TRY(refuse_obstacles(before));
  TRY_ASSIGN(auto written, SaveFolder::make(folder));
  TRY_ASSIGN(auto image, ImageWriter::create(folder));
  Saved saved;
  const auto begin = Clock::now();
  TRY_ASSIGN(auto tree, StoppedTree::stop(set.roots()));
  TRY(hold(tree, network));
  TRY_ASSIGN(const auto snapshot, image.write(tree, /*durable=*/true));
  if (has_connections(snapshot) && !network.hold)
    return Err("there are TCP connections, and nobody holds the network meanwhile");
  for (const auto& process : snapshot.processes) saved.pids.push_back(process.pid);
  saved.page_bytes = image.page_bytes();
  written.keep();
  if (!leave_running) TRY(end(tree, snapshot, network));
  saved.stopped_ns = since(begin);
  return saved;
}

bool is_saved_tree(const std::string& folder) { return holds_image(folder); }

Result<RestoredTrees> restore_trees(const std::string& folder, bool stopped, const NetworkHooks& network) {
  TRY_ASSIGN(const auto path, os::real_path(folder));
  TRY_ASSIGN(auto saved, load_image(path));
  TRY_ASSIGN(const auto snapshot, for_this_kernel(std::move(saved)));
  TRY_ASSIGN(auto tasks, rebuild(snapshot, pages_of(path)));
  auto connections = std::move(tasks.connections());
  TRY_ASSIGN(const auto tree, verify(snapshot, std::move(tasks)));
  // From here on they are there, whatever else fails.
  auto live = connections.go_live();
  if (network.release) {
    auto released = network.release();
    if (!released && live) live = std::move(released);
  }
  connections.ask_peers();
  RestoredTrees restored;
  restored.roots = snapshot.roots();
  for (const auto& process : snapshot.processes) {
    restored.pids.push_back(process.pid);
    if (!process.exit_status && stopped && !process.job_stopped) ::kill(process.pid, SIGSTOP);
  }
  TRY_IN("the processes are there again, but not all of their connections", std::move(live));
  return restored;
}

}  // namespace upkeep::engine
