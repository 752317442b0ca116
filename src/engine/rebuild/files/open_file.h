#pragma once
// The files, pipes, timers and so on of a snapshot, made by the restorer; its tasks take them from there.

#include <cstdint>
#include <set>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/files/kept_files.h"
#include "engine/rebuild/files/posix_queues.h"
#include "engine/rebuild/namespaces/namespaces.h"
#include "engine/rebuild/sockets/socket.h"
#include "engine/rebuild/sockets/tcp.h"
#include "os/fd.h"

namespace upkeep::engine {

struct OpenedFiles {
  // One for each of Snapshot::files; none yet for those that are about tasks of the tree (pidfds, files of
  // /proc/PID).
  std::vector<os::UniqueFd> files;
  GonePeers gone_peers;
};

// TCP connections are put into CONNECTIONS as well. NOT_YET: inodes of sockets that listen later. Where a
// process that has a file open lives in a mount namespace of its own, it is opened there. The error names the
// file.
Result<OpenedFiles> open_files(const Snapshot& snapshot, const AllNamespaces& namespaces,
                               const KeptFiles& kept, const MadePosixQueues& queues,
                               const std::set<std::uint64_t>& not_yet, HeldConnections& connections);

// The others, when all tasks are there, and what only then can be done: messages put back, sockets joined to
// peers with names.
Result<void> complete_files(const Snapshot& snapshot, const AllNamespaces& namespaces, OpenedFiles& opened);

// Who is sent signals by files, when all tasks are there.
Result<void> set_input_signals(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files);

}  // namespace upkeep::engine
