#include "engine/inspect/sockets/taken_connections.h"

#include "os/borrow_descriptor.h"
#include "os/limits.h"
#include "os/tcp_repair.h"

namespace upkeep::engine {

Result<TakenConnections> TakenConnections::take(const Snapshot& snapshot) {
  TakenConnections taken;
  os::allow_descriptors(snapshot.files.size());
  std::vector<bool> seen(snapshot.files.size());
  for (const auto& process : snapshot.processes) {
    for (const auto& descriptor : process.descriptors) {
      const auto& file = snapshot.files[descriptor.file];
      if (!file.socket || !file.socket->connection || seen[descriptor.file]) continue;
      seen[descriptor.file] = true;
      TRY_ASSIGN(auto fd, os::borrow_descriptor(process.pid, descriptor.fd));
      taken.sockets_.push_back(std::move(fd));
    }
  }
  return taken;
}

Result<void> TakenConnections::close_silently() {
  Result<void> first;
  for (auto& fd : sockets_) {
    auto entered = os::enter_repair_mode(fd);
    if (!entered && first) first = std::move(entered);
    fd.reset();
  }
  sockets_.clear();
  return first;
}

}  // namespace upkeep::engine
