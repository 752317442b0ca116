#pragma once
// Sockets of unix(7) with names: both ends of a connection of which one has a name, as the end has that its
// listener has accepted.

#include <span>
#include <utility>
#include <vector>

#include "common/result.h"
#include "engine/model/sockets/socket.h"
#include "os/fd.h"

namespace upkeep::engine {

struct WantedPair {
  const Socket* first;
  const Socket* second;
};
using SocketPair = std::pair<os::UniqueFd, os::UniqueFd>;

// One for each of WANTED, in their order: connected, with the names of both ends, and with nothing in them.
// Neither a file nor a listener of that name is touched: the kernel keeps of a path what was said when it was
// bound, so it is bound in a directory where that path leads nowhere else. Abstract names have to be free for
// the moment. Those that were made by the same two processes are made together, since to be somebody else for
// the moment is most of the work. The error names the socket.
Result<std::vector<SocketPair>> make_named_pairs(std::span<const WantedPair> wanted);
// One socket with that name, likewise.
Result<os::UniqueFd> make_named(const Socket& socket);

}  // namespace upkeep::engine
