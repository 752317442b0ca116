#pragma once
// Sockets of a snapshot, made anew.

#include <map>

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "engine/native/rebuild/connections.h"
#include "os/fd.h"

namespace upkeep::native {

class Sockets {
 public:
  // TCP connections among them are put into CONNECTIONS as well.
  explicit Sockets(HeldConnections& connections) : connections_(connections) {}
  // To be called for all pairs before open() is called for one of their ends.
  Result<void> make_pair(const Socket& first, const Socket& second);
  // One that is joined to its peer (peers.h) is connected to nothing yet.
  Result<os::UniqueFd> open(const Socket& socket);

 private:
  Result<os::UniqueFd> connect(const Socket& socket);
  HeldConnections& connections_;
  std::map<std::uint64_t, os::UniqueFd> ends_;
};

}  // namespace upkeep::native
