#pragma once
// Both ends of a connection of which one has a name, as the end has that its listener has accepted.

#include <utility>

#include "common/result.h"
#include "engine/native/model/sockets.h"
#include "os/fd.h"

namespace upkeep::native {

// Connected, with the names of FIRST and SECOND, and with nothing in them. Neither a file nor a listener of
// that name is touched: the kernel keeps of a path what was said when it was bound, so it is bound in a
// folder where that path leads nowhere else. Abstract names have to be free for the moment.
Result<std::pair<os::UniqueFd, os::UniqueFd>> make_named_pair(const Socket& first, const Socket& second);
// One socket with that name, likewise.
Result<os::UniqueFd> make_named(const Socket& socket);

}  // namespace upkeep::native
