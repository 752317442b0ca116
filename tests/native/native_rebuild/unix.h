#pragma once
// Sockets of AF_UNIX for subjects.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace upkeep::testing {

// NAME: a path, or "@" and an abstract name.
struct Address {
  explicit Address(std::string_view name) {
    un.sun_family = AF_UNIX;
    name.copy(un.sun_path, sizeof un.sun_path - 1);
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + 1);
    if (name.front() != '@') return;
    un.sun_path[0] = '\0';
    --size;
  }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&un); }
  sockaddr_un un = {};
  socklen_t size;
};

// Each takes the lowest free descriptor.
inline int make(int type) { return ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0); }
inline int bound(int type, std::string_view name) {
  const int fd = make(type);
  Address address(name);
  return ::bind(fd, address.get(), address.size) == 0 ? fd : -1;
}
inline bool connect_to(int fd, std::string_view name) {
  Address address(name);
  return ::connect(fd, address.get(), address.size) == 0;
}
inline int connected(int type, std::string_view name) {
  const int fd = make(type);
  return connect_to(fd, name) ? fd : -1;
}
inline void must(bool holds) {
  if (!holds) ::_exit(1);
}

// What getsockname(2) and getpeername(2) say: "@" for an abstract name, nothing for none.
inline std::string name_of(int fd, decltype(&::getsockname) ask) {
  Address address("x");
  address.size = sizeof address.un;
  if (ask(fd, address.get(), &address.size) < 0) return std::strerror(errno);
  const auto length = address.size - offsetof(sockaddr_un, sun_path);
  std::string name(address.un.sun_path, length);
  if (name.empty()) return name;
  if (name.front() == '\0') return "@" + name.substr(1);
  return name.c_str();
}
inline std::string own_name(int fd) { return name_of(fd, ::getsockname); }
inline std::string peer_name(int fd) { return name_of(fd, ::getpeername); }

inline std::string waiting(int fd) {
  char text[64] = {};
  const ssize_t size = ::recv(fd, text, sizeof text, MSG_PEEK | MSG_DONTWAIT);
  return size < 0 ? std::strerror(errno) : std::string(text, static_cast<std::size_t>(size));
}
inline std::string taken(int fd) {
  auto text = waiting(fd);
  char rest[64];
  (void)!::recv(fd, rest, sizeof rest, MSG_DONTWAIT);
  return text;
}
inline bool passes(int from, int to) {
  return ::send(from, "ping", 4, MSG_DONTWAIT | MSG_NOSIGNAL) == 4 && taken(to) == "ping";
}
inline void put(int fd, std::string_view text) { must(::send(fd, text.data(), text.size(), 0) > 0); }

}  // namespace upkeep::testing
