#pragma once
// Sockets of a snapshot, made anew.

#include <cstdint>
#include <map>
#include <set>
#include <span>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/sockets/tcp.h"
#include "engine/rebuild/sockets/unix_socket.h"
#include "os/fd.h"

namespace upkeep::engine {

// Other ends that the tree does not have any more, by the inodes of those that it has.
using GonePeers = std::map<std::uint64_t, os::UniqueFd>;

// What has not been read is put into them later (unread_messages.h).
class Sockets {
 public:
  // TCP connections among them are put into CONNECTIONS as well. NOT_YET: inodes of those that listen later
  // (listeners.h).
  Sockets(HeldConnections& connections, const std::set<std::uint64_t>& not_yet)
      : connections_(connections), not_yet_(not_yet) {}
  // To be called for all pairs, those of one network at a time, before open() is called for one of their
  // ends.
  Result<void> make_pairs(std::span<const WantedPair> pairs);
  // One that is joined to its peer (outside_peers.h) is connected to nothing yet.
  Result<os::UniqueFd> open(const Socket& socket);
  GonePeers& gone_peers() { return gone_; }

 private:
  Result<os::UniqueFd> open_left_alone(const Socket& socket);
  Result<os::UniqueFd> connect(const Socket& socket);
  HeldConnections& connections_;
  const std::set<std::uint64_t>& not_yet_;
  std::map<std::uint64_t, os::UniqueFd> ends_;
  GonePeers gone_;
};

}  // namespace upkeep::engine
