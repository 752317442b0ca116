#pragma once
// What restore leaves to resume. Apart from landing.h: upkeep-init, which has the landing, need not know the engine.

#include <optional>
#include <vector>

#include "engine/engine.h"
#include "net/tcp_peers.h"
#include "systemd/journald_sockets.h"

namespace upkeep::jump {

struct RestoredTasks {
  std::vector<net::TcpPeer> peers;
  std::optional<systemd::JournaldSockets> journald;  // where nobody else listens
  std::optional<engine::MadeSet> made;
};

}  // namespace upkeep::jump
