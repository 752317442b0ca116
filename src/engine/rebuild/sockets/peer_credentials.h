#pragma once
// Sockets made with the credentials that their peers see: SO_PEERCRED of unix(7).

#include <functional>
#include <optional>
#include <vector>

#include "common/result.h"
#include "engine/model/sockets/socket.h"
#include "os/fd.h"

namespace upkeep::engine {

// MAKE runs as WHOM; as ourselves where there is none. The PID is that one where it is nobody else's. What
// MAKE opens and returns is ours.
Result<std::vector<os::UniqueFd>> make_as(const std::optional<PeerCredentials>& whom,
                                          const std::function<Result<std::vector<int>>()>& make);
// The same for calls that open nothing and return -1 with errno.
Result<void> call_as(const std::optional<PeerCredentials>& whom, const char* what,
                     const std::function<int()>& call);

}  // namespace upkeep::engine
