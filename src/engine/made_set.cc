#include "engine/made_set.h"

#include <signal.h>

#include <algorithm>
#include <optional>

#include "engine/image.h"
#include "engine/kernel_crossing.h"
#include "engine/rebuild/rebuild.h"
#include "engine/verify/verify.h"

namespace upkeep::engine {

struct MadeSet::Parts {
  std::vector<pid_t> roots, pids;
  std::vector<pid_t> running;  // neither zombies nor stopped by job control
  bool live = false;
  HeldConnections connections;
  std::optional<StoppedTree> tree;  // none once released
};

MadeSet::MadeSet(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
MadeSet::MadeSet(MadeSet&&) noexcept = default;

// Connections after the tasks: closing one in repair mode is silent.
MadeSet::~MadeSet() {
  if (parts_ && parts_->tree) (void)parts_->tree->kill();
}

const std::vector<pid_t>& MadeSet::roots() const { return parts_->roots; }
const std::vector<pid_t>& MadeSet::pids() const { return parts_->pids; }

Result<void> MadeSet::go_live() {
  parts_->live = true;
  return parts_->connections.go_live();
}

Result<void> MadeSet::release(Then then) {
  auto live = parts_->live ? Result<void>() : go_live();
  parts_->connections.ask_peers();
  if (then == Then::stand_stopped) {
    for (const pid_t pid : parts_->running) ::kill(pid, SIGSTOP);
  }
  parts_->tree.reset();
  return live;
}

struct LoadedSet::Parts {
  Snapshot snapshot;
  std::string pages;  // path of their contents
};

LoadedSet::LoadedSet(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
LoadedSet::LoadedSet(LoadedSet&&) noexcept = default;
LoadedSet::~LoadedSet() = default;

Result<LoadedSet> LoadedSet::load(const std::string& directory) {
  TRY_ASSIGN(auto saved, load_image(directory));
  TRY_ASSIGN(auto snapshot, for_this_kernel(std::move(saved)));
  return LoadedSet(std::make_unique<Parts>(Parts{std::move(snapshot), pages_of(directory)}));
}

bool LoadedSet::wants_journald() const {
  return std::ranges::any_of(parts_->snapshot.files, [](const auto& file) {
    return file.socket && unix_name(file.socket->remote).starts_with("/run/systemd/journal/");
  });
}

Result<MadeSet> LoadedSet::make() const {
  const auto& snapshot = parts_->snapshot;
  TRY_ASSIGN(auto tasks, rebuild(snapshot, parts_->pages));
  auto made = std::make_unique<MadeSet::Parts>();
  made->connections = std::move(tasks.connections());
  TRY_ASSIGN(made->tree, verify(snapshot, std::move(tasks)));
  made->roots = snapshot.roots();
  for (const auto& process : snapshot.processes) {
    made->pids.push_back(process.pid);
    if (!process.exit_status && !process.job_stopped) made->running.push_back(process.pid);
  }
  return MadeSet(std::move(made));
}

}  // namespace upkeep::engine
