#pragma once
// Options of sockets, and their names: what bind(2) and connect(2) need.

#include "common/result.h"
#include "engine/model/sockets/socket.h"
#include "os/fd.h"

namespace upkeep::engine {

Result<void> set_options(os::Fd fd, const Socket& socket);
Result<void> bind_name(os::Fd fd, const Socket& socket);          // to Socket::local
Result<void> connect_to_remote(os::Fd fd, const Socket& socket);  // where it has one

// Sizes of buffers and who chose them (SO_BUF_LOCK, Linux 5.14): the kernel goes on tuning those that it
// chose.
struct BufferSizes {
  int send = 0, receive = 0, locked = 0;
};
BufferSizes buffer_sizes(os::Fd fd);
Result<void> set_buffer_sizes(os::Fd fd, const BufferSizes& sizes);

}  // namespace upkeep::engine
