#pragma once
// Sockets in namespaces of tests.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <utility>

#include "namespace.h"

namespace upkeep::net {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

inline SocketAddress socket_address(const std::string& text, std::uint16_t port) {
  SocketAddress address;
  sockaddr_in in = {};
  sockaddr_in6 in6 = {};
  if (::inet_pton(AF_INET, text.c_str(), &in.sin_addr) == 1) {
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&address.storage, &in, sizeof in);
    address.size = sizeof in;
  } else {
    EXPECT_EQ(::inet_pton(AF_INET6, text.c_str(), &in6.sin6_addr), 1) << text;
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    std::memcpy(&address.storage, &in6, sizeof in6);
    address.size = sizeof in6;
  }
  return address;
}

inline SocketAddress name_of(const os::UniqueFd& fd) {
  SocketAddress name;
  name.size = sizeof name.storage;
  EXPECT_EQ(::getsockname(fd.get(), name.get(), &name.size), 0);
  return name;
}

// Bound to a port of the kernel's choice.
inline os::UniqueFd bound_socket(const Namespace& where, int type, const std::string& text) {
  os::UniqueFd fd;
  where.in([&] {
    auto address = socket_address(text, 0);
    fd = os::UniqueFd(::socket(address.storage.ss_family, type | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(fd.get(), address.get(), address.size), 0) << text << ": " << std::strerror(errno);
  });
  return fd;
}

inline os::UniqueFd datagram_socket(const Namespace& where, const std::string& text) {
  return bound_socket(where, SOCK_DGRAM, text);
}

inline bool send_datagram(const os::UniqueFd& from, const os::UniqueFd& to) {
  const auto name = name_of(to);
  return ::sendto(from.get(), "x", 1, 0, name.get(), name.size) == 1;
}

inline void receive_all(const os::UniqueFd& fd) {
  char buffer[64];
  while (::recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
  }
}

// An established connection: the server's end in one namespace, the client's in another. A few bytes have
// gone each way, so that both know the round trip time.
inline std::pair<os::UniqueFd, os::UniqueFd> connection(const Namespace& server_side,
                                                        const std::string& address,
                                                        const Namespace& client_side) {
  auto listener = bound_socket(server_side, SOCK_STREAM, address);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  const auto name = name_of(listener);
  os::UniqueFd client;
  client_side.in([&] {
    client = os::UniqueFd(::socket(name.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(client.get(), name.get(), name.size), 0) << std::strerror(errno);
  });
  os::UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  for (int i = 0; i < 5; ++i) {
    char byte = 0;
    EXPECT_EQ(::send(client.get(), "x", 1, 0), 1);
    EXPECT_EQ(::recv(server.get(), &byte, 1, 0), 1);
    EXPECT_EQ(::send(server.get(), "x", 1, 0), 1);
    EXPECT_EQ(::recv(client.get(), &byte, 1, 0), 1);
  }
  return {std::move(server), std::move(client)};
}

}  // namespace upkeep::net
