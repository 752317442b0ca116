#pragma once
// Sockets, asked through a descriptor of our own (pidfd_getfd(2)): what all of them have; each family has a
// file of its own for the rest.

#include <cstdint>

#include "common/result.h"
#include "engine/inspect/sockets/socket_reading.h"

namespace upkeep::engine {

// We are in its network namespace.
Result<void> read_socket(SocketReading& reading, std::uint64_t inode);

}  // namespace upkeep::engine
