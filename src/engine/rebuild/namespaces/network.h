#pragma once
// Network namespaces: what is in them, and which one a socket belongs to.

#include <string>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/namespaces/namespaces.h"
#include "os/fd.h"

namespace upkeep::engine {

// In a new one, by a task in it. TEXT: Namespaces::network. What is not as it was afterwards is found when
// all is compared.
Result<void> set_up_network(const std::string& text);

// Where a socket is made; no descriptor where that is our own network.
os::Fd network_of(const Socket& socket, const Snapshot& snapshot, const AllNamespaces& namespaces);

}  // namespace upkeep::engine
