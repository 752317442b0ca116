#pragma once
// Connections that have been made again and do not take part in anything yet: they are in repair mode, so
// that they send nothing of their own accord, and closing them is silent.

#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "net/hold.h"
#include "os/fd.h"

namespace upkeep::engine {

class HeldConnections {
 public:
  // The network is still held: whoever sees one packet of theirs too early answers it with a reset.
  // Connections that have not gone live when this is let go stay in repair mode: it is for tasks that end.
  Result<void> go_live();
  // When the network is open too, and before the tasks run: whoever is at the other end is asked where it is
  // (a window probe). Where that was a connection of the tree's own that waited to be accepted it is not
  // there any more, and the answer is a reset; else its client would wait for one for ever.
  void ask_peers();
  std::size_t size() const { return connections_.size(); }

  // One that has not been answered yet asks once more then; FD stays the caller's.
  Result<void> add_connecting(os::Fd fd, const Socket& socket);
  // Their network is closed until all have gone live.
  void keep_closed(net::NamespaceHold hold) { networks_.push_back(std::move(hold)); }
  void add(os::UniqueFd fd, int reuse_address) { connections_.push_back({std::move(fd), reuse_address}); }

 private:
  struct Connection {
    os::UniqueFd fd;
    int reuse_address = 0;  // repair mode overwrites SO_REUSEADDR
  };
  struct Connecting {
    os::UniqueFd fd;
    Bytes remote;
  };
  std::vector<Connection> connections_;
  std::vector<Connecting> connecting_;
  std::vector<net::NamespaceHold> networks_;
};

// The connection, in repair mode, with everything in its queues. The network is held.
Result<os::UniqueFd> make_connection(const Socket& socket);

}  // namespace upkeep::engine
