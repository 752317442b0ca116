#pragma once
// What `upkeep snapshot` and `upkeep restore` do with the network: a tree's TCP connections are held from
// before their queues are read until they are there again, so that the peers see silence. What is held stands
// beside the snapshot, in FOLDER/connections.json.

#include <optional>
#include <string>

#include "common/result.h"
#include "engine/trees.h"
#include "net/connection_hold.h"

namespace upkeep::cli {

class HeldConnections {
 public:
  explicit HeldConnections(std::string folder) : folder_(std::move(folder)) {}
  // They refer to this object.
  engine::NetworkHooks hooks();
  std::size_t count() const { return hold_ ? hold_->connections().size() : 0; }
  const std::string& table() const { return table_; }  // of those that stay held

 private:
  Result<void> hold(const std::vector<pid_t>& pids);
  Result<void> keep();
  Result<void> release();
  std::string folder_, table_;
  std::optional<net::ConnectionHold> hold_;
};

}  // namespace upkeep::cli
