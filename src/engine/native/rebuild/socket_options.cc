#include "engine/native/rebuild/socket_options.h"

#include <sys/socket.h>

#include <cstring>

#include "os/tcp_repair.h"

namespace upkeep::native {
namespace {

// Sizes are told doubled; SO_..BUFFORCE takes what exceeds the sysctl limits.
Result<void> force_buffer(os::Fd fd, int name, int size) {
  const int half = size / 2;
  const int forced = name == SO_RCVBUF ? SO_RCVBUFFORCE : SO_SNDBUFFORCE;
  if (::setsockopt(fd.get(), SOL_SOCKET, forced, &half, sizeof half) < 0)
    return ErrnoErr("buffer of {}", half);
  return {};
}

bool is_buffer_option(const SocketOption& option) {
  return option.level == SOL_SOCKET && (option.name == SO_RCVBUF || option.name == SO_SNDBUF);
}

Result<void> set_option(os::Fd fd, const SocketOption& option) {
  if (is_buffer_option(option)) {
    int size = 0;
    if (option.value.data.size() != sizeof size) return Err("option {}: not a number", option.name);
    std::memcpy(&size, option.value.data.data(), sizeof size);
    return force_buffer(fd, option.name, size);
  }
  if (::setsockopt(fd.get(), option.level, option.name, option.value.data.data(),
                   static_cast<socklen_t>(option.value.data.size())) < 0)
    return ErrnoErr("option {} of level {}", option.name, option.level);
  return {};
}

}  // namespace

Result<void> set_options(os::Fd fd, const Socket& socket) {
  const int before = buffer_sizes(fd).locked;
  bool locked = false;
  for (const auto& option : socket.options) {
    TRY(set_option(fd, option));
    locked =
        is_buffer_option(option) || (locked && !(option.level == SOL_SOCKET && option.name == SO_BUF_LOCK));
  }
  if (!locked) return {};
  return os::set_socket_option(fd, SOL_SOCKET, SO_BUF_LOCK, before, "SO_BUF_LOCK");
}

Result<void> bind_name(os::Fd fd, const Socket& socket) {
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(socket.local.data.data()),
             static_cast<socklen_t>(socket.local.data.size())) < 0)
    return ErrnoErr("bind");
  return {};
}

BufferSizes buffer_sizes(os::Fd fd) {
  auto number = [fd](int name) { return os::socket_option<int>(fd, SOL_SOCKET, name).value_or(0); };
  return {number(SO_SNDBUF), number(SO_RCVBUF), number(SO_BUF_LOCK)};
}

Result<void> set_buffer_sizes(os::Fd fd, const BufferSizes& sizes) {
  TRY(force_buffer(fd, SO_SNDBUF, sizes.send));
  TRY(force_buffer(fd, SO_RCVBUF, sizes.receive));
  return os::set_socket_option(fd, SOL_SOCKET, SO_BUF_LOCK, sizes.locked, "SO_BUF_LOCK");
}

}  // namespace upkeep::native
