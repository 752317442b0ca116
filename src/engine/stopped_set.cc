#include "engine/stopped_set.h"

#include "engine/inspect/calls/stop.h"
#include "engine/inspect/sockets/taken_connections.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

struct StoppedSet::Parts {
  std::vector<pid_t> roots;
  StoppedTree tree;
  Snapshot saved;
};

StoppedSet::StoppedSet(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
StoppedSet::StoppedSet(StoppedSet&&) noexcept = default;
StoppedSet::~StoppedSet() = default;

Result<StoppedSet> StoppedSet::stop(const std::vector<pid_t>& roots) {
  TRY_ASSIGN(auto tree, StoppedTree::stop(roots));
  return StoppedSet(std::make_unique<Parts>(Parts{roots, std::move(tree), {}}));
}

Result<CarrySet> StoppedSet::set() const { return collect(parts_->roots); }

std::vector<pid_t> StoppedSet::pids() const {
  std::vector<pid_t> pids;
  for (const auto& process : parts_->tree.processes()) pids.push_back(process.pid);
  return pids;
}

const StoppedTree& StoppedSet::tree() const { return parts_->tree; }

Result<void> StoppedSet::save(ImageWriter& image, Durability durability) {
  TRY_ASSIGN(parts_->saved, image.write(parts_->tree, durability));
  return {};
}

const Snapshot& StoppedSet::saved() const { return parts_->saved; }

Result<TakenConnections> StoppedSet::end() && {
  TRY_ASSIGN(auto connections, TakenConnections::take(parts_->saved));
  TRY(parts_->tree.kill());
  return connections;
}

}  // namespace upkeep::engine
