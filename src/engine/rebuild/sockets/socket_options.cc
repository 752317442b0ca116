#include "engine/rebuild/sockets/socket_options.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <vector>

#include "os/tcp_repair.h"

namespace upkeep::engine {
namespace {

// getsockopt(2) returns sizes doubled; SO_..BUFFORCE takes what exceeds the sysctl limits.
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

// Interfaces have other numbers here.
Result<Bytes> value_here(const SocketOption& option) {
  if (option.interface.empty()) return option.value;
  const std::uint32_t number = ::if_nametoindex(option.interface.c_str());
  if (number == 0) return ErrnoErr("interface {}", option.interface);
  const bool host_order = option.level == IPPROTO_IPV6 && option.name == IPV6_MULTICAST_IF;
  const auto value = host_order ? number : htonl(number);
  Bytes bytes;
  bytes.data.resize(sizeof value);
  std::memcpy(bytes.data.data(), &value, sizeof value);
  return bytes;
}

Result<void> set_option(os::Fd fd, const SocketOption& option) {
  if (is_buffer_option(option)) {
    int size = 0;
    if (option.value.data.size() != sizeof size) return Err("option {}: not a number", option.name);
    std::memcpy(&size, option.value.data.data(), sizeof size);
    return force_buffer(fd, option.name, size);
  }
  TRY_ASSIGN(const auto value, value_here(option));
  if (::setsockopt(fd.get(), option.level, option.name, value.data.data(),
                   static_cast<socklen_t>(value.data.size())) < 0)
    return ErrnoErr("option {} of level {}", option.name, option.level);
  return {};
}

bool is_filter_lock(const SocketOption& option) {
  return option.level == SOL_SOCKET && option.name == SO_LOCK_FILTER;
}

Result<void> attach_filter(os::Fd fd, const Bytes& instructions) {
  if (instructions.data.empty()) return {};
  auto filter = std::vector<sock_filter>(instructions.data.size() / sizeof(sock_filter));
  std::memcpy(filter.data(), instructions.data.data(), filter.size() * sizeof(sock_filter));
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  return os::set_socket_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, "SO_ATTACH_FILTER");
}

}  // namespace

Result<void> set_options(os::Fd fd, const Socket& socket) {
  const int before = buffer_sizes(fd).locked;
  bool locked = false;
  for (const auto& option : socket.options) {
    if (!is_filter_lock(option)) TRY(set_option(fd, option));
    locked =
        is_buffer_option(option) || (locked && !(option.level == SOL_SOCKET && option.name == SO_BUF_LOCK));
  }
  if (locked) TRY(os::set_socket_option(fd, SOL_SOCKET, SO_BUF_LOCK, before, "SO_BUF_LOCK"));
  TRY(attach_filter(fd, socket.filter));
  for (const auto& option : socket.options) {
    if (is_filter_lock(option)) TRY(set_option(fd, option));
  }
  return {};
}

Result<void> bind_name(os::Fd fd, const Socket& socket) {
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(socket.local.data.data()),
             static_cast<socklen_t>(socket.local.data.size())) < 0)
    return ErrnoErr("bind");
  return {};
}

Result<void> connect_to_remote(os::Fd fd, const Socket& socket) {
  const auto& name = socket.remote.data;
  if (name.empty()) return {};
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(name.data()),
                static_cast<socklen_t>(name.size())) < 0)
    return ErrnoErr("connect");
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

}  // namespace upkeep::engine
