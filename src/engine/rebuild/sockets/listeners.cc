#include "engine/rebuild/sockets/listeners.h"

#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>

namespace upkeep::engine {
namespace {

bool is(const Credentials& own, const PeerCredentials& whom) {
  return own.euid == whom.uid && own.egid == whom.gid && own.groups == whom.groups;
}

// Where somebody waits to be accepted, it has to listen before there are any processes.
bool can_be_late(const Socket& socket) {
  return socket.family == AF_UNIX && socket.listening && socket.waiting.empty() && socket.peer_credentials;
}

}  // namespace

OwnListeners find_own_listeners(const Snapshot& snapshot, const Credentials& born,
                                const std::function<bool(const Process&)>& may) {
  OwnListeners found;
  std::set<std::uint32_t> seen;
  for (const auto& process : snapshot.processes) {
    if (process.exit_status || !may(process)) continue;
    for (const auto& descriptor : process.descriptors) {
      const auto& socket = snapshot.files[descriptor.file].socket;
      if (!socket || !can_be_late(*socket) || socket->peer_credentials->pid != process.pid) continue;
      const bool as_born = is(born, *socket->peer_credentials);
      const bool as_ever = is(process.threads.front().credentials, *socket->peer_credentials);
      if ((as_born || as_ever) && seen.insert(descriptor.file).second)
        found[process.pid].push_back({descriptor.fd, &*socket, as_born});
    }
  }
  return found;
}

std::set<std::uint64_t> inodes_of(const OwnListeners& listeners) {
  std::set<std::uint64_t> inodes;
  for (const auto& [pid, all] : listeners) {
    for (const auto& one : all) inodes.insert(one.socket->inode);
  }
  return inodes;
}

Program compile_listening(const std::vector<OwnListener>& listeners, bool as_born) {
  Program program;
  for (const auto& one : listeners) {
    if (one.as_born == as_born) program.call(SYS_listen, {one.fd, one.socket->backlog});
  }
  return program;
}

}  // namespace upkeep::engine
