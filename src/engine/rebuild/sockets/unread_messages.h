#pragma once
// What has not been read from sockets, put back into them.

#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/namespaces/namespaces.h"
#include "engine/rebuild/sockets/socket.h"
#include "os/fd.h"

namespace upkeep::engine {

// All files are there, for some may be on their way through sockets. Then directions are shut down, and other
// ends closed that the tree does not have any more. TCP connections have their queues from the beginning.
Result<void> put_back_unread(const Snapshot& snapshot, const AllNamespaces& namespaces,
                             const std::vector<os::UniqueFd>& files, GonePeers gone_peers);

}  // namespace upkeep::engine
